from __future__ import annotations

from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import SpecError
from segspec.evaluate.fitting import fitting_graph
from segspec.evaluate.model import Model, deploy_graph, table_of
from segspec.evaluate.predict import Predictor
from segspec.graph.nominal import FALLBACK_SIZES, nominal_graph
from segspec.net import apply

THRESHOLD = "layers:\n  - Convolution: {name: score, num_output: $classes, kernel_size: 1}\n"
DATA = "data: {{test: {{type: DenseImageData, source: none.txt, {more}}}}}\n"
SEGNET = """layers:
  - Convolution: {name: a, num_output: 4, kernel_size: 3, pad: 1}
  - PoolingMask: {name: p1, kernel_size: 2, stride: 2}
  - Convolution: {name: b, num_output: 4, kernel_size: 3, pad: 1}
  - PoolingMask: {name: p2, kernel_size: 2, stride: 2}
  - Upsample: {name: u2, mask: p2}
  - Upsample: {name: u1, mask: p1}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""
UNET = """layers:
  - Convolution: {name: a, num_output: 4, kernel_size: 3, pad: 1}
  - Pooling: {pool: MAX, kernel_size: 4, stride: 4, round_mode: FLOOR}
  - Deconvolution: {name: up, num_output: 4, kernel_size: 4, stride: 4}
  - Concat: {with: a}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def bright(model: Model, channels: int = 3) -> Model:
    """The model as a threshold: class 1 where the mean of the channels is above 127."""
    weight = np.zeros((1, 1, channels, 2), np.float32)
    weight[..., 1] = 1 / channels
    score = {"weight": jnp.asarray(weight), "bias": jnp.asarray([127.0, 0.0])}
    return Model(model.spec, {"score": score}, {})


def scores(model: Model, images: np.ndarray) -> np.ndarray:
    """The scores of a net built for the very size of the images."""
    graph = deploy_graph(model.spec, 1, images.shape[1:3], images.shape[3])
    data = images.astype(np.float32) if model.data is None else model.data.normalize(images)
    run = jax.jit(lambda params, state: apply(graph, params, state, {"data": data}, want=("score",)).blobs["score"])
    return np.asarray(run(model.params, model.state))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 13), (24, 24), (33, 5)])
def test_every_pixel_of_any_size_gets_its_own_class(make_model: Any, height: int, width: int) -> None:
    image = picture(height, width)
    labels = Predictor(bright(make_model(THRESHOLD))).predict(image).labels
    assert (labels.shape, labels.dtype) == ((height, width), np.uint8)
    np.testing.assert_array_equal(labels, image.astype(float).mean(-1) > 127)


def test_grey_images_are_one_channel(make_model: Any) -> None:
    image = picture(9, 11, channels=1)
    model = bright(make_model(DATA.format(more="color: false") + THRESHOLD), channels=1)
    np.testing.assert_array_equal(Predictor(model).predict(image).labels, image[..., 0] > 127)


def test_mean_and_scale_are_those_of_the_data(make_model: Any) -> None:
    image = picture(9, 11)
    model = bright(make_model(DATA.format(more="mean_value: [10, 20, 30], scale: 2.0") + THRESHOLD))
    expected = 2 * (image.astype(float) - [10, 20, 30]).mean(-1) > 127
    np.testing.assert_array_equal(Predictor(model).predict(image).labels, expected)


def test_pooling_and_unpooling_need_no_even_size(make_model: Any) -> None:
    model = make_model(SEGNET)
    image = picture(19, 23)
    assert fitting_graph(model, (19, 23))[0] == (19, 23)
    np.testing.assert_array_equal(Predictor(model).predict(image).labels, scores(model, image[None])[0].argmax(-1))


def test_a_net_that_needs_multiples_is_padded_and_cut_back(make_model: Any) -> None:
    model = make_model(UNET)
    image = picture(21, 30)
    with pytest.raises(SpecError):
        deploy_graph(model.spec, 1, (21, 30), 3)
    padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="edge")
    expected = scores(model, padded[None])[0, :21, :30].argmax(-1)
    np.testing.assert_array_equal(Predictor(model).predict(image).labels, expected)


def test_a_declared_size_is_resized_to_and_the_answer_comes_back_at_the_images_own(make_model: Any) -> None:
    model = make_model(DATA.format(more="new_height: 12, new_width: 16") + THRESHOLD)
    image = picture(31, 25)
    small = scores(model, cv2.resize(image, (16, 12), interpolation=cv2.INTER_LINEAR)[None])
    expected = np.asarray(jax.image.resize(small, (1, 31, 25, 2), "linear"))[0].argmax(-1)
    labels = Predictor(model).predict(image).labels
    assert labels.shape == (31, 25)
    assert (labels == expected).mean() > 0.995, "but for ties in the last bit"


def test_scores_come_back_to_a_smaller_image_the_way_the_image_was_enlarged(make_model: Any) -> None:
    model = make_model(DATA.format(more="new_height: 40, new_width: 36") + THRESHOLD)
    image = picture(13, 9)
    large = scores(model, cv2.resize(image, (36, 40), interpolation=cv2.INTER_LINEAR)[None])[0]
    expected = cv2.resize(large, (9, 13), interpolation=cv2.INTER_LINEAR).argmax(-1)
    np.testing.assert_array_equal(Predictor(model).predict(image).labels, expected)


def test_coarse_scores_are_enlarged(make_model: Any) -> None:
    text = "layers:\n  - Pooling: {pool: AVE, kernel_size: 4, stride: 4}\n" + THRESHOLD.removeprefix("layers:\n")
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 255
    labels = Predictor(bright(make_model(text))).predict(image).labels
    np.testing.assert_array_equal(labels, image[..., 0] > 127)


def test_one_size_is_compiled_once_and_many_sizes_mix(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(bright(make_model(THRESHOLD)))
    for size in [(5, 6), (6, 5), (5, 6), (6, 5), (5, 6)]:
        image = picture(*size)
        np.testing.assert_array_equal(predictor.predict(image).labels, image.astype(float).mean(-1) > 127)
    assert predictor._label.cache_info().misses == 2


def test_a_net_without_an_image_of_scores_says_so(make_model: Any) -> None:
    model = make_model("input: {height: 8, width: 8}\nlayers:\n  - InnerProduct: {name: fc, num_output: 2}\n")
    with pytest.raises(SpecError, match=r"no image of class scores, but 'fc' \(1x2\)"):
        Predictor(model).predict(picture(8, 8))


FIXED = """layers:
  - PoolingMask: {name: p, kernel_size: 2, stride: 2}
  - Upsample: {mask: p, upsample_h: 12, upsample_w: 16}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""


@pytest.mark.parametrize("size", [(31, 25), (9, 7)])
def test_an_image_is_resized_to_the_only_size_that_a_net_takes(make_model: Any, size: tuple[int, int]) -> None:
    """A smaller image would fit into the output, but its maxima would come to lie elsewhere."""
    model = bright(make_model("input: {height: 12, width: 16}\n" + FIXED))
    predictor = Predictor(model)
    predictor.predict(picture(12, 16))
    assert predictor.resized is None
    image = picture(*size)
    small = scores(model, cv2.resize(image, (16, 12), interpolation=cv2.INTER_LINEAR)[None])
    labels = predictor.predict(image).labels
    assert predictor.resized == (12, 16)
    expected = cv2.resize(small[0], size[::-1], interpolation=cv2.INTER_LINEAR)
    differ = labels != expected.argmax(-1)
    assert differ[np.abs(np.diff(expected, axis=-1)[..., 0]) > 1e-2].mean() == 0, "but for ties in the last bits"


def test_an_odd_image_is_padded_where_unpooling_doubles(make_model: Any) -> None:
    model = bright(make_model(FIXED.replace("upsample_h: 12, upsample_w: 16", "scale: 2")))
    size, _ = fitting_graph(model, (8, 15))
    assert size == (8, 16)
    image = picture(8, 15)
    padded = np.pad(image, ((0, 0), (0, 1), (0, 0)), mode="edge")
    expected = scores(model, padded[None])[0, :, :15].argmax(-1)
    np.testing.assert_array_equal(Predictor(model).predict(image).labels, expected)


def test_a_net_that_shifts_maxima_at_every_size_is_asked_all_the_same(make_model: Any) -> None:
    model = bright(make_model(FIXED.replace("upsample_h: 12, upsample_w: 16", "scale: 4")))
    predictor = Predictor(model)
    assert predictor.predict(picture(9, 7)).labels.shape == (9, 7)
    assert predictor.resized is None


def test_without_a_class_table_the_scores_are_numbered(make_model: Any) -> None:
    text = THRESHOLD.replace("$classes", "3")
    model = make_model("classes: 3\n" + text)
    assert table_of(model).count == 3


def test_a_net_with_a_fixed_window_is_opened_at_a_size_that_it_allows(make_model: Any) -> None:
    text = "layers:\n  - Convolution: {name: score, num_output: $classes, kernel_size: 100}\n"
    graph = nominal_graph(make_model("input: {height: 100, width: 120}\n" + text).spec)
    assert graph.inputs["data"].shape == (1, 100, 120, 3)
    graph = nominal_graph(make_model(text).spec)
    assert graph.inputs["data"].shape[1:3] == FALLBACK_SIZES[1]


BAYESIAN = """layers:
  - Convolution: {name: a, num_output: 8, kernel_size: 3, pad: 1}
  - Dropout: {sample_weights_test: true}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""


@pytest.mark.parametrize("end", ["", "  - Softmax: {name: prob}\n"])
def test_samples_give_the_mean_probabilities_and_their_variance(make_model: Any, end: str) -> None:
    model = make_model(BAYESIAN + end)
    image = picture(6, 7)
    found = Predictor(model, samples=5, seed=2).predict(image)
    graph = deploy_graph(model.spec, 1, (6, 7), 3)
    keys = [jax.random.fold_in(jax.random.key(2), number) for number in range(5)]
    data = {"data": jnp.asarray(image[None], jnp.float32)}
    asked = [apply(graph, model.params, model.state, data, key=key, want=("score",)).blobs["score"][0] for key in keys]
    samples = np.stack([np.asarray(jax.nn.softmax(scores)) for scores in asked]).astype(np.float64)
    np.testing.assert_array_equal(found.labels, samples.mean(0).argmax(-1))
    np.testing.assert_allclose(found.uncertainty, samples.var(0).sum(-1), atol=1e-6)
    assert found.uncertainty is not None
    assert found.uncertainty.max() > 0.01


def test_a_net_that_is_certain_is_not_asked_twice(make_model: Any) -> None:
    with pytest.raises(SpecError, match="no layer is random at test"):
        Predictor(make_model(THRESHOLD), samples=2)
