"""A net written as a prototxt computes what the net computes."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.convert.prototxt import prototxt_text
from segspec.errors import Source, SpecError
from segspec.graph.build import build, image_inputs
from segspec.net import apply, init
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import NetSpec
from segspec.weights.caffe_blobs import name_blobs, number_blobs
from segspec.weights.fit import fit

ROOT = Path(__file__).resolve().parents[2]

NET = """
segspec: 1
name: all
classes: 3
input: {height: 13, width: 18}
layers:
  - LRN: {local_size: 3}
  - Convolution: {name: c1, num_output: 6, kernel_size: [3, 5], pad: same, weight_filler: {type: gaussian, std: 0.1}}
  - BatchNorm: {name: bn, eps: 0.001}
  - PReLU
  - PoolingMask: {name: p1}
  - Convolution: {name: c2, num_output: 6, kernel_size: 3, dilation: 2, pad: same, group: 2, param: [{lr_mult: 2}, {}]}
  - Dropout: {dropout_ratio: 0.3}
  - Upsample: {mask: p1}
  - Deconvolution: {name: up, num_output: 4, kernel_size: 4, stride: 2, pad: 1, bottom: p1, size_of: data}
  - Crop: {like: data, offset: center}
  - Concat: {with: bn}
  - Interp: {size_of: p1}
  - Pooling: {pool: AVE, kernel_size: [2, 3], stride: 1}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""


def written(spec: NetSpec, size: tuple[int, int]) -> str:
    return prototxt_text(spec, build(spec, "DEPLOY", image_inputs(1, *size, 3, labels=False)))


def both(spec: NetSpec, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The scores of a net, and of what its prototxt reads back as with the weights as Caffe would number them."""
    inputs = image_inputs(1, *size, 3, labels=False)
    first = build(spec, "DEPLOY", inputs)
    again = read_caffe_net(Source("x.prototxt", written(spec, size)), phase="DEPLOY")
    second = build(again, "DEPLOY", inputs)
    params, state = init(first, 0)
    state = jax.tree.map(lambda leaf: leaf + 0.5, state)
    theirs = fit(second, *init(second, 1), name_blobs(second, list(number_blobs(first, params, state)), "x"))
    image = jax.random.uniform(jax.random.key(0), (1, *size, 3)) * 255
    assert first.prediction is not None
    scores = apply(first, params, state, {"data": image}, want=(first.prediction,)).blobs[first.prediction]
    last = second.layers[-1].tops[0]
    found = apply(second, theirs[0], theirs[1], {"data": image}, want=(last,)).blobs[last]
    return np.asarray(jax.nn.softmax(scores)), np.asarray(found)


@pytest.mark.parametrize("size", [(13, 18), (16, 16)])
def test_it_computes_the_same_with_the_same_weights(size: tuple[int, int]) -> None:
    ours, theirs = both(read_net(Source("all.yaml", NET), Path()), size)
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert float(jnp.std(ours)) > 1e-3


@pytest.mark.parametrize("name", ["segnet_camvid", "segnet_basic_camvid", "unet"])
def test_a_shipped_net_keeps_its_parameters(name: str) -> None:
    spec = load_net(ROOT / "specs" / f"{name}.yaml")
    text = written(spec, (64, 96))
    again = build(read_caffe_net(Source("x.prototxt", text)), "DEPLOY", image_inputs(1, 64, 96, 3, labels=False))
    assert again.parameters == build(spec, "DEPLOY", image_inputs(1, 64, 96, 3, labels=False)).parameters


@pytest.mark.parametrize("size", [(8, 12), (7, 12), (8, 11)])
def test_rows_that_a_deconvolution_has_beyond_its_own_size_are_cropped_from_a_larger_one(size: tuple[int, int]) -> None:
    text = """segspec: 1
classes: 3
layers:
  - Convolution: {name: c, num_output: 4, kernel_size: 3, stride: 2, pad: 1}
  - Deconvolution: {name: score, num_output: $classes, kernel_size: 3, stride: 2, pad: 1, size_of: data}
"""
    ours, theirs = both(read_net(Source("x.yaml", text), Path()), size)
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_a_layer_that_works_in_place_needs_no_second_blob() -> None:
    text = written(read_net(Source("all.yaml", NET), Path()), (16, 16))
    assert 'bottom: "c2"\n  top: "c2"\n  dropout_param' in text
    assert 'name: "bn/scale"\n  type: "Scale"\n  bottom: "c1"\n  top: "c1"' in text


def test_a_value_in_unread_of_several_words_is_quoted() -> None:
    text = (
        "segspec: 1\ninput: {height: 8, width: 8}\nlayers: [ReLU: {name: r}]\nunread: {r: {foo: two words, bar: CUDNN}}"
    )
    lines = written(read_net(Source("x.yaml", text), Path()), (8, 8)).splitlines()
    assert '  foo: "two words"' in lines and "  bar: CUDNN" in lines


def test_what_a_gradient_needs_is_not_overwritten() -> None:
    """Caffe's ReLU takes its gradient from the blob that it wrote, which a BatchNorm in place would have changed."""
    types = ["ReLU", "BatchNorm", "TanH", "Dropout", "ReLU", "Dropout", "PReLU"]
    layers = ["Convolution: {name: c, num_output: 2, kernel_size: 1}", *(f"{kind}: {{}}" for kind in types)]
    text = "segspec: 1\ninput: {height: 8, width: 8}\nlayers: [" + ", ".join(f"{{{layer}}}" for layer in layers) + "]"
    net = read_caffe_net(Source("x.prototxt", written(read_net(Source("x.yaml", text), Path()), (8, 8))))
    tops = {layer.name: layer.tops[0].partition("@")[0] for layer in net.layers if layer.name != "prob"}
    assert list(tops.values()) == ["c", "c", "bn1", "bn1", "bn1", "drop1", "drop1", "drop1", "prelu1"]


def test_what_is_added_takes_no_name_that_is_there() -> None:
    head = "segspec: 1\ninput: {height: 8, width: 8}\nlayers:\n  - BatchNorm: {name: bn}\n"
    layer = "  - Convolution: {name: prob, num_output: 2, kernel_size: 1}\n"
    net = read_caffe_net(Source("x.prototxt", written(read_net(Source("x.yaml", head + layer), Path()), (8, 8))))
    assert [layer.name for layer in net.layers] == ["bn", "bn/scale", "prob", "prob_2"]
    taken = head + "  - Scale: {name: bn/scale}\n"
    with pytest.raises(SpecError, match="two layers of the prototxt would be called 'bn/scale'"):
        written(read_net(Source("x.yaml", taken), Path()), (8, 8))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[SoftmaxWithLoss: {class_weights: enet}]", "Caffe takes class weights as numbers"),
        ("[DiceLoss]", "(?s)Caffe has no layer type 'DiceLoss'.* --deploy leaves"),
        ("[MirrorPad: {pad: 1}]", "(?s)Caffe has no layer type 'MirrorPad'.* keep this net in YAML"),
        ("[Interp: {height: 8, width: 8, align_corners: false}]", "keeps the corners"),
    ],
)
def test_what_caffe_has_no_words_for_is_refused_at_its_place(layers: str, message: str) -> None:
    text = "segspec: 1\nclasses: 3\ninput: {height: 8, width: 8}\nlayers: " + layers
    spec = read_net(Source("x.yaml", text), Path())
    with pytest.raises(SpecError, match=message) as caught:
        prototxt_text(spec, build(spec, "TRAIN", image_inputs(1, 8, 8, 3)))
    assert "x.yaml:4:" in str(caught.value)


FORKS = """
segspec: 1
name: forks
input: {height: 13, width: 18}
layers:
  - Convolution: {name: c1, num_output: 6, kernel_size: 3, pad: same}
  - PoolingMask: {name: p1}
  - DepthwiseConvolution: {num_output: 6, kernel_size: 3, pad: same}
  - ShuffleChannel: {group: 2}
  - Unpooling: {mask: p1, kernel_size: 2, stride: 2}
  - Normalize: {across_spatial: false}
  - Permute: {order: [0, 1, 3, 2]}
  - Reshape: {shape: [0, 0, 0, -1]}
  - Convolution: {name: score, num_output: 3, kernel_size: 1}
"""


TOWERS = """
segspec: 1
name: towers
input: {height: 17, width: 17}
blocks: {tower: {layers: [Convolution: {num_output: 4, kernel_size: 3}, BatchNorm, Interp: {size_of: data}]}}
layers:
  - tower: {name: a, share: t}
  - Interp: {bottom: data, shrink_factor: 2}
  - tower: {name: b, share: t}
  - Eltwise: {with: a, operation: MAX}
"""


def test_blobs_that_blocks_share_are_named() -> None:
    spec = read_net(Source("towers.yaml", TOWERS), ROOT)
    text = written(spec, (17, 17))
    for blob in ("conv1/weight", "conv1/bias", "bn1/scale", "bn1/shift"):
        assert text.count(f'name: "t/{blob}" ') == 2
    ours, theirs = both(spec, (17, 17))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


UPPER = """
segspec: 1
name: upper
input: {{height: {0}, width: {0}}}
layers:
  - Convolution: {{name: c1, num_output: 4, kernel_size: 3, stride: 2, pad: same_upper}}
  - Pooling: {{kernel_size: 3, stride: 2, pad: same_upper}}
"""


def test_padding_that_one_size_makes_even() -> None:
    spec = read_net(Source("upper.yaml", UPPER.format(17)), ROOT)
    assert " pad: 1\n" in written(spec, (17, 17))
    ours, theirs = both(spec, (17, 17))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


def test_a_pooling_of_caffes_reaches_beyond_the_image_too() -> None:
    text = UPPER.format(16).replace("pad: same_upper", "pad: 1", 1)
    ours, theirs = both(read_net(Source("upper.yaml", text), ROOT), (16, 16))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


def test_padding_on_one_side_is_refused() -> None:
    spec = read_net(Source("upper.yaml", UPPER.format(16)), ROOT)
    message = "Caffe pads all sides alike; on 16x16 pixels pad: same_upper does not"
    with pytest.raises(SpecError, match=message) as caught:
        written(spec, (16, 16))
    assert "upper.yaml:6:" in str(caught.value)


def test_sizes_and_groups_that_forks_want_written() -> None:
    spec = read_net(Source("forks.yaml", FORKS), ROOT)
    text = written(spec, (13, 18))
    for line in ("unpool_h: 13", "unpool_w: 18", "group: 6", "shape { dim: 0 dim: 0 dim: 0 dim: -1 }"):
        assert f" {line}\n" in text
    ours, theirs = both(spec, (13, 18))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


def test_a_shared_blob_takes_its_multipliers_where_it_is_held() -> None:
    spec = read_net(
        Source(
            "x.yaml",
            "segspec: 1\nclasses: 3\nlayers:\n"
            "  - Convolution: {num_output: 3, kernel_size: 1, share: s, param: {lr_mult: 0}}\n"
            "  - Convolution: {num_output: 3, kernel_size: 1, share: s}\n",
        ),
        Path("nowhere"),
    )
    again = read_caffe_net(Source("x.prototxt", written(spec, (4, 4))), phase="DEPLOY")
    layers = build(again, "DEPLOY", image_inputs(1, 4, 4, 3, labels=False)).layers
    assert [layer.multipliers["weight"] for layer in layers if layer.params] == [(0, 1), (0, 1)]
