from __future__ import annotations

from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from segspec.errors import SpecError
from segspec.evaluate.ensemble import Ensemble, with_channels
from segspec.evaluate.model import Model, deploy_graph
from segspec.evaluate.predict import Predictor
from segspec.evaluate.views import Views
from segspec.net import apply

LAYERS = """layers:
  - Convolution: {name: a, num_output: 6, kernel_size: 3, pad: 1}
  - Convolution: {name: score, num_output: 3, kernel_size: 1}
"""
HEAD = "classes: [sky, road, car]\n"
DATA = "data: {{test: {{type: DenseImageData, source: none.txt, {more}}}}}\n"
RANDOM = LAYERS.replace(
    "  - Convolution: {name: score", "  - Dropout: {sample_weights_test: true}\n" + "  - Convolution: {name: score"
)


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, channels), np.uint8)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, image.shape[2])


def probabilities(model: Model, image: np.ndarray, key: jax.Array | None = None) -> np.ndarray:
    """The softmax of the scores of a net built for the very size of an image, in float64."""
    graph = deploy_graph(model.spec, 1, image.shape[:2], image.shape[2])
    data = image[None].astype(np.float32) if model.data is None else model.data.normalize(image[None])
    found = apply(graph, model.params, model.state, {"data": jnp.asarray(data)}, key=key, want=("score",))
    return softmax(np.asarray(found.blobs["score"][0]))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def at_scale(model: Model, image: np.ndarray, scale: float) -> np.ndarray:
    """The probabilities that come back from a scaled image: the scores are resized, and then their softmax is taken."""
    size = (round(scale * image.shape[0]), round(scale * image.shape[1]))
    graph = deploy_graph(model.spec, 1, size, image.shape[2])
    data = resized(image, size)[None].astype(np.float32)
    scores = apply(graph, model.params, model.state, {"data": jnp.asarray(data)}, want=("score",)).blobs["score"][0]
    return softmax(cv2.resize(np.asarray(scores), image.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def small(model: Model) -> Model:
    """The same net with scores around 1, so that its probabilities are neither 0 nor 1."""
    params = {name: {blob: value / 20 for blob, value in own.items()} for name, own in model.params.items()}
    return Model(model.spec, params, model.state)


@pytest.mark.parametrize("size", [(8, 8), (7, 13)])
def test_views_are_averaged_as_probabilities_at_the_images_size(make_model: Any, size: tuple[int, int]) -> None:
    model = small(make_model(HEAD + LAYERS))
    image = picture(*size)
    expected = np.mean(
        [
            back(at_scale(model, turned, scale))
            for scale in (1.0, 0.75, 1.25)
            for turned, back in ((image, lambda x: x), (image[:, ::-1].copy(), lambda x: x[:, ::-1]))
        ],
        axis=0,
    )
    predictor = Predictor(model, views=Views((1.0, 0.75, 1.25), flip=True))
    assert_allclose(predictor.ask(image).mean, expected, atol=2e-5)
    found = predictor.predict(image)
    assert_array_equal(found.labels, expected.argmax(-1))
    assert_array_equal(found.alone[0], probabilities(model, image).argmax(-1))
    assert (found.labels != found.alone[0]).any(), "or nothing was averaged"
    assert found.uncertainty is None


def test_mirroring_changes_nothing_for_a_net_that_knows_no_left(make_model: Any) -> None:
    model = small(make_model(HEAD + LAYERS))
    params = {name: {**own, "weight": own["weight"] + own["weight"][:, ::-1]} for name, own in model.params.items()}
    symmetric = Model(model.spec, params, {})
    image = picture(9, 11)
    plain, both = Predictor(symmetric), Predictor(symmetric, views=Views(flip=True))
    assert_allclose(both.ask(image).mean, plain.ask(image).mean, atol=1e-6)
    assert_array_equal(both.predict(image).labels, plain.predict(image).labels)
    assert (
        np.abs(
            np.asarray(Predictor(model, views=Views(flip=True)).ask(image).mean - Predictor(model).ask(image).mean)
        ).max()
        > 1e-3
    )


def test_a_mirrored_image_is_mirrored_before_it_is_padded(make_model: Any) -> None:
    text = LAYERS.replace(
        "layers:\n", "layers:\n  - Pooling: {pool: MAX, kernel_size: 4, stride: 4, round_mode: FLOOR}\n"
    )
    up = "  - Deconvolution: {name: up, num_output: 3, kernel_size: 4, stride: 4}\n"
    up += "  - Eltwise: {name: score, with: first}\n"
    text = text.replace("name: score", "name: low") + up
    text = text.replace("layers:\n", "layers:\n  - Convolution: {name: first, num_output: 3, kernel_size: 1}\n")
    model = make_model(HEAD + text)
    image = picture(6, 9)
    found = Predictor(model, views=Views(flip=True)).ask(image).mean
    mirrored = Predictor(model).ask(image[:, ::-1].copy()).mean[:, ::-1]
    assert_allclose(found, (Predictor(model).ask(image).mean + mirrored) / 2, atol=1e-6)


def test_nets_are_averaged_each_with_its_own_preparation(make_model: Any) -> None:
    plain = small(make_model(HEAD + LAYERS))
    other = small(
        make_model(
            HEAD + DATA.format(more="new_height: 12, new_width: 10, mean_value: 100, scale: 0.5") + LAYERS, seed=7
        )
    )
    image = picture(9, 15)
    scores = softmax_of_resized(other, resized(image, (12, 10)), (9, 15))
    expected = [probabilities(plain, image), scores]
    found = Ensemble([plain, other]).predict(image)
    assert_array_equal(found.labels, np.mean(expected, axis=0).argmax(-1))
    for labels, own in zip(found.alone, expected, strict=True):
        assert_array_equal(labels, own.argmax(-1))
    assert (found.alone[0] != found.alone[1]).any()


def softmax_of_resized(model: Model, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    graph = deploy_graph(model.spec, 1, image.shape[:2], 3)
    assert model.data is not None
    data = {"data": model.data.normalize(jnp.asarray(image[None]))}
    scores = apply(graph, model.params, model.state, data, want=("score",)).blobs["score"][0]
    return softmax(cv2.resize(np.asarray(scores), size[::-1], interpolation=cv2.INTER_LINEAR))


def test_a_net_of_grey_images_and_one_of_colours(make_model: Any) -> None:
    grey = small(make_model(HEAD + DATA.format(more="color: false") + LAYERS, seed=3))
    colour = small(make_model(HEAD + LAYERS))
    image = picture(6, 7)
    alone = Ensemble([colour, grey]).predict(image).alone
    assert_array_equal(alone[1], Predictor(grey).predict(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]).labels)
    assert_array_equal(alone[0], Predictor(colour).predict(image).labels)
    assert_array_equal(with_channels(image[..., :1], 3), image[..., [0, 0, 0]])
    with pytest.raises(SpecError, match="images of different channels: 4 and 3"):
        with_channels(picture(3, 3, 4), 3)


def test_one_net_is_asked_as_it_is_alone(make_model: Any) -> None:
    model = make_model(HEAD + LAYERS)
    image = picture(6, 7)
    found = Ensemble([model]).predict(image)
    assert_array_equal(found.labels, Predictor(model).predict(image).labels)
    assert found.alone == ()


def test_the_uncertainty_of_several_nets_is_the_variance_of_all_their_samples(make_model: Any) -> None:
    """A net that is certain counts as one that gave the same answer each time."""
    random, certain = small(make_model(HEAD + RANDOM)), small(make_model(HEAD + LAYERS, seed=9))
    image = picture(5, 6)
    found = Ensemble([random, certain], samples=4).predict(image)
    keys = [jax.random.fold_in(jax.random.key(0), number) for number in range(4)]
    samples = np.stack([*(probabilities(random, image, key) for key in keys), *[probabilities(certain, image)] * 4])
    assert_allclose(found.uncertainty, samples.var(0).sum(-1), atol=1e-5)
    assert_array_equal(found.labels, samples.mean(0).argmax(-1))
    with pytest.raises(SpecError, match="no layer is random at test"):
        Ensemble([certain, certain], samples=2)


def test_views_of_a_random_net_have_samples_of_their_own(make_model: Any) -> None:
    random = small(make_model(HEAD + RANDOM))
    image = np.full((4, 4, 3), 128, np.uint8)
    plain, both = (Predictor(random, views=Views(flip=flip), samples=3) for flip in (False, True))
    assert not np.allclose(plain.ask(image).mean, both.ask(image).mean, atol=1e-4)
    assert np.asarray(both.predict(image).uncertainty).max() > 0


FIXED = """layers:
  - PoolingMask: {name: p, kernel_size: 2, stride: 2}
  - Upsample: {mask: p, upsample_h: 12, upsample_w: 16}
  - Convolution: {name: score, num_output: 3, kernel_size: 1}
"""


def test_a_net_of_one_size_is_shown_mirrored_images_and_no_scaled_ones(make_model: Any) -> None:
    model = make_model(HEAD + "input: {height: 12, width: 16}\n" + FIXED)
    image = picture(20, 20)
    assert Predictor(model, views=Views(flip=True)).predict(image).labels.shape == (20, 20)
    with pytest.raises(SpecError) as caught:
        Predictor(model, views=Views((1.0, 0.75))).predict(image)
    assert "the net cannot be shown images of 12x16 at scale 0.75, 9x12" in str(caught.value)
    assert "leave 0.75 out of --tta; flip needs no other size" in str(caught.value)


def test_a_scale_at_which_nothing_is_left_is_refused_with_the_reason(make_model: Any) -> None:
    text = LAYERS.replace("kernel_size: 3, pad: 1", "kernel_size: 200")
    model = make_model(HEAD + text)
    image = picture(220, 220)
    assert Predictor(model).predict(image).labels.shape == (220, 220)
    with pytest.raises(SpecError, match=r"at scale 0\.1, 22x22"):
        Predictor(model, views=Views((1.0, 0.1))).predict(image)


ONE_LOGIT = "classes: [ground, thing]\nlayers:\n  - Convolution: {name: score, num_output: 1, kernel_size: 1}\n"


@pytest.mark.parametrize("end", ["", "  - Sigmoid: {name: probability}\n"])
def test_one_logit_means_two_classes(make_model: Any, end: str) -> None:
    models = [small(make_model(ONE_LOGIT + end, seed=seed)) for seed in range(2)]
    image = picture(6, 7)
    logits = [
        (image.astype(float) @ np.asarray(own["weight"], float)[0, 0] + np.asarray(own["bias"], float))[..., 0]
        for own in (model.params["score"] for model in models)
    ]
    assert_array_equal(Predictor(models[0]).predict(image).labels, logits[0] > 0)
    mean = np.mean([1 / (1 + np.exp(-own)) for own in logits], axis=0)
    assert_array_equal(Ensemble(models).predict(image).labels, mean > 0.5)
    assert 0 < (mean > 0.5).mean() < 1
