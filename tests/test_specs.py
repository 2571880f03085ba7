"""The networks that are shipped: what they count, at which sizes they fit, and how much text they take."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.build import build
from segspec.graph.check import check
from segspec.graph.graph import Graph
from segspec.graph.inputs import declared_size, image_channels, net_inputs
from segspec.layers.loss import SoftmaxWithLoss
from segspec.spec.flatten import flat_text
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net

FOLDER = shipped("specs")
SPECS = sorted([*FOLDER.glob("*.yaml"), *FOLDER.glob("segnet_paper/*.yaml")])
LEAST = {"deconvnet": 193, "unet_2015": 40}
"""Height and width that a net needs where 33x47 pixels are not enough."""
PAPER = {
    "bilinear_interpolation": 0.625,
    "segnet_basic": 1.425,
    "segnet_basic_encoder_addition": 1.425,
    "segnet_single_channel_decoder": 0.625,
    "fcn_basic": 0.65,
    "fcn_basic_no_addition": 0.65,
}
"""Millions of parameters in Table 1 of Badrinarayanan, Kendall, Cipolla 2017."""

each = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)


@cache
def graph(path: Path, *overrides: str, size: tuple[int, int] | None = None) -> Graph:
    spec = load_net(path, overrides)
    return build(spec, "TRAIN", net_inputs(spec, size, 2))


def code_lines(path: Path) -> int:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))


RESNET50 = "depth=6"
COUNTS: list[tuple[str, tuple[str, ...], int]] = [
    # caffe-segnet and the SegNet tutorial
    ("segnet_camvid", (), 29_449_355),
    ("segnet_camvid", ("classes=21",), 29_455_125),
    ("segnet_basic_camvid", (), 1_416_587),
    ("bayesian_segnet_basic_camvid", (), 1_416_587),
    ("bayesian_segnet_camvid", (), 29_486_411),
    ("segnet_squares", (), 612_418),
    # shelhamer/fcn.berkeleyvision.org; the frozen enlargements count
    ("fcn32s", (), 136_152_917),
    ("fcn16s", (), 134_815_994),
    ("fcn8s", (), 134_489_759),
    ("fcn_alexnet", (), 58_704_590),
    # HyeonwooNoh/DeconvNet
    ("deconvnet", (), 251_805_653),
    # Ronneberger et al. 2015; Keras, example oxford_pets_image_segmentation
    ("unet_2015", (), 31_030_658),
    ("unet_xception", (), 2_055_203),
    ("unet_xception", ("classes=4",), 2_055_203 + 289),
    # image-segmentation-keras
    ("segnet_mobilenet", (), 5_534_547),
    # DeepLab's releases; torchvision; segmentation_models.pytorch
    ("fcn_resnet", ("aux=false", RESNET50), 32_957_013),
    ("fcn_resnet", ("aux=false",), 51_949_141),
    ("fcn_resnet", (RESNET50,), 35_322_218),
    ("deeplab_v1_largefov", (), 20_505_429),
    ("deeplab_v2_vgg16", (), 37_877_652),
    ("deeplab_v2_resnet101", (), 44_048_532),
    ("deeplab_v2_multiscale", (), 44_048_532),
    ("deeplab_v3", (RESNET50,), 39_638_869),
    ("deeplab_v3", (), 58_630_997),
    ("deeplab_v3plus", (RESNET50,), 26_682_725),
    ("deeplab_v3plus", (), 45_674_853),
    # hszhao/PSPNet and hszhao/ICNet, without what only training needs
    ("pspnet", ("aux=false", RESNET50, "classes=ade20k"), 46_782_550),
    ("pspnet", ("aux=false",), 65_708_501),
    ("pspnet", ("aux=false", "classes=cityscapes"), 65_707_475),
    ("icnet", ("cascade=false",), 6_699_990),
    # TimoSaemann/ENet
    ("enet", (), 372_551),
    # fyu/dilation
    ("dilation8", (), 134_313_443),
    ("dilation10", (), 134_373_043),
]


@pytest.mark.parametrize(("name", "overrides", "count"), COUNTS)
def test_counts_what_the_original_counts(name: str, overrides: tuple[str, ...], count: int) -> None:
    assert graph(FOLDER / f"{name}.yaml", *overrides).parameters == count


def test_counts_follow_the_classes() -> None:
    segnet = FOLDER / "segnet_camvid.yaml"
    assert {graph(segnet, f"classes={n}").parameters - 577 * n for n in (2, 3, 100)} == {29_443_008}


@pytest.mark.parametrize(("name", "millions"), PAPER.items())
def test_variants_of_the_segnet_paper_count_what_its_table_says(name: str, millions: float) -> None:
    assert graph(FOLDER / f"segnet_paper/{name}.yaml").parameters == pytest.approx(1e6 * millions, rel=0.01)


@pytest.mark.parametrize("name", ["fcn_basic_no_dim_reduction", "fcn_basic_no_addition_no_dim_reduction"])
def test_filters_of_64_maps_to_64_count_as_the_paper_describes_them(name: str) -> None:
    encoder = 49 * 3 * 64 + 3 * 49 * 64 * 64 + 4 * 2 * 64
    assert graph(FOLDER / f"segnet_paper/{name}.yaml").parameters == encoder + 4 * 8 * 8 * 64 * 64 + 64 * 11 + 11


def test_unet_counts_what_the_arithmetic_says() -> None:
    """3x3 convolutions with bias, two numbers a channel of normalisation, 2x2 deconvolutions."""

    def cbr(wide: int, out: int) -> int:
        return 9 * wide * out + out + 2 * out

    widths = ((3, 64), (64, 128), (128, 256), (256, 512), (512, 1024))
    down = sum(cbr(wide, out) + cbr(out, out) for wide, out in widths)
    up = sum(4 * 2 * out * out + out + cbr(2 * out, out) + cbr(out, out) for out in (512, 256, 128, 64))
    assert graph(FOLDER / "unet.yaml").parameters == down + up + 64 * 11 + 11


def test_erfnet_counts_what_the_arithmetic_says() -> None:
    def down(wide: int, out: int) -> int:
        return (9 * wide + 1) * (out - wide) + 2 * out

    def block(wide: int) -> int:
        return 4 * (3 * wide + 1) * wide + 4 * wide

    def up(wide: int, out: int) -> int:
        return 9 * wide * out + out + 2 * out + 2 * block(out)

    encoder = down(3, 16) + down(16, 64) + 5 * block(64) + down(64, 128) + 8 * block(128)
    assert graph(FOLDER / "erfnet.yaml").parameters == encoder + up(128, 64) + up(64, 16) + (4 * 16 + 1) * 19


CLASSIFIERS = {
    # Caffe's releases with 1000 classes; ResNet-50 has a bias in its first convolution there
    "vgg16": ("[vgg]", ["vgg16", "vgg_fc", "InnerProduct: {num_output: 1000}"], 138_357_544),
    "alexnet": ("[alexnet, vgg]", ["alexnet", "vgg_fc: {size: 6}", "InnerProduct: {num_output: 1000}"], 60_965_224),
    "resnet50": ("[resnet]", ["resnet: {n: 6}"], 25_557_096 - 64),
    "resnet101": ("[resnet]", ["resnet: {n: 23}"], 44_549_160),
}
RESNET = """blocks:
  resnet:
    args: {n: int}
    layers:
      - resnet_stem
      - stage: {mid: 64, n: 3}
      - stage: {mid: 128, n: 4, stride: 2}
      - stage: {mid: 256, n: $n, stride: 2}
      - stage: {mid: 512, n: 3, stride: 2}
      - Pooling: {pool: AVE, global_pooling: true}
      - InnerProduct: {num_output: 1000}
"""


@pytest.mark.parametrize(("use", "layers", "count"), CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_encoders_with_their_classifiers_count_what_the_originals_count(
    use: str, layers: list[str], count: int
) -> None:
    lines = "".join(f"  - {layer}\n" for layer in layers)
    text = f"segspec: 1\nuse: {use}\ninput: {{height: 224, width: 224}}\n{RESNET * ('resnet' in use)}layers:\n{lines}"
    spec = read_net(Source("encoder.yaml", text), FOLDER)
    assert build(spec, "TRAIN", net_inputs(spec, None)).parameters == count


def resnet(n: int) -> int:
    """ResNet of 3, 4, n, 3 bottlenecks without its classifier, normalised, without biases."""

    def unit(wide: int, mid: int) -> int:
        project = wide * 4 * mid + 8 * mid if wide != 4 * mid else 0
        return wide * mid + 9 * mid * mid + 4 * mid * mid + 12 * mid + project

    stages = ((64, 64, 3), (256, 128, 4), (512, 256, n), (1024, 512, 3))
    return 49 * 3 * 64 + 128 + sum(unit(wide, mid) + (n - 1) * unit(4 * mid, mid) for wide, mid, n in stages)


def test_resnets_count_what_their_models_count_less_the_classifier() -> None:
    assert (resnet(6), resnet(23)) == (25_557_032 - 2_049_000, 44_549_160 - 2_049_000)


def test_large_kernels_count_what_the_arithmetic_says() -> None:
    c, k = 21, 15
    refine = 2 * (9 * c * c + c)
    lateral = sum(2 * (wide * k * c + c + c * k * c + c) for wide in (256, 512, 1024, 2048))
    assert graph(FOLDER / "gcn.yaml").parameters == resnet(23) + lateral + 9 * refine + 5 * 16 * c * c


def test_refinenet_counts_what_the_arithmetic_says() -> None:
    def conv(wide: int, out: int) -> int:
        return 9 * wide * out + out

    def adapt(wide: int, out: int) -> int:
        return 9 * wide * out + 4 * conv(out, out) + conv(out, out)

    coarsest = adapt(2048, 512) + 2 * conv(512, 512) + 2 * conv(512, 512)
    finer = sum(adapt(wide, 256) for wide in (1024, 512, 512, 256, 256, 256))
    ends = 3 * 2 * conv(256, 256) + (1 + 1 + 3) * 2 * conv(256, 256)
    assert graph(FOLDER / "refinenet.yaml").parameters == resnet(23) + coarsest + finer + ends + conv(256, 21)


@each
def test_gives_scores_of_the_size_of_the_image_at_its_own_size(path: Path) -> None:
    spec = load_net(path)
    assert spec.classes is not None
    size = declared_size(spec)
    assert size is not None, "neither the data nor 'input' say the size that check counts with"
    net = graph(path)
    assert net.blobs[net.prediction].shape == (2, *size, spec.classes.count)


@each
@pytest.mark.parametrize("size", [(101, 203), (64, 64), (33, 47)])
def test_fits_other_sizes_odd_and_small(path: Path, size: tuple[int, int]) -> None:
    least = LEAST.get(path.stem, 0)
    height, width = (max(length, least) for length in size)
    net = graph(path, size=(height, width))
    assert net.classes is not None
    assert net.blobs[net.prediction].shape == (2, height, width, net.classes.count)


@pytest.mark.parametrize("name", ["pspnet", "icnet", "fcn_resnet"])
def test_predicts_with_the_main_scores_rather_than_those_of_an_auxiliary_loss(name: str) -> None:
    net = graph(FOLDER / f"{name}.yaml")
    assert net.prediction == "score"
    assert sum(isinstance(each.layer, SoftmaxWithLoss) for each in net.layers) > 1


def test_deeplab_at_three_scales_is_one_net_whose_highest_score_counts() -> None:
    net = graph(FOLDER / "deeplab_v2_multiscale.yaml", size=(65, 81))
    single = graph(FOLDER / "deeplab_v2_resnet101.yaml", size=(65, 81))
    scales = {"whole": (65, 81), "three_quarters": (49, 61), "half": (33, 41)}
    for scale, size in scales.items():
        assert net.layer(f"{scale}/res1/conv1").inputs[0].shape[1:3] == size
        assert net.blobs[f"{scale}/score"].shape[1:3] == (65, 81)
    owned = [(layer.name, blob, spec) for layer, blob, spec in net.owned_params()]
    assert owned == [(f"whole/{layer.name}", blob, spec) for layer, blob, spec in single.owned_params()]
    assert net.prediction == "score"
    assert net.layer("score").layer.operation == "MAX"
    assert net.layer("score").bottoms == tuple(f"{scale}/score" for scale in scales)
    losses = [each.bottoms[0] for each in net.layers if isinstance(each.layer, SoftmaxWithLoss)]
    assert losses == [*net.layer("score").bottoms, "score"]


@pytest.mark.parametrize("name", [*PAPER, "fcn_basic_no_dim_reduction", "fcn_basic_no_addition_no_dim_reduction"])
def test_variants_of_the_segnet_paper_are_trained_with_and_without_balanced_classes(name: str) -> None:
    def weights(*overrides: str) -> list[object]:
        layers = load_net(FOLDER / f"segnet_paper/{name}.yaml", overrides).layers
        return [each.layer.class_weights for each in layers if isinstance(each.layer, SoftmaxWithLoss)]

    assert weights() == ["median_frequency"]
    assert weights("weights=") == [None]


@each
def test_check_tells_its_table(path: Path) -> None:
    spec = load_net(path)
    text = check(spec, (200, 231))
    assert f"images of 200x231x{image_channels(spec)}, {spec.classes.count if spec.classes else 0} classes" in text
    assert f"parameters     {graph(path, size=(200, 231)).parameters:,}  (" in text


@each
def test_flat_text_reads_back_to_an_equal_net(path: Path) -> None:
    spec = load_net(path)
    text = flat_text(spec)
    again = read_net(Source("flat.yaml", text), Path("nowhere"))

    def wiring(net: type(spec)) -> list[tuple[object, ...]]:  # type: ignore[valid-type]
        return [(x.name, x.layer, x.bottoms, x.tops, x.rules, x.rest, x.loss_weights, x.share) for x in net.layers]

    assert wiring(again) == wiring(spec)
    assert (again.name, again.classes, again.input, again.data, again.output) == (
        spec.name,
        spec.classes,
        spec.input,
        spec.data,
        spec.output,
    )
    assert flat_text(again) == text


LONGEST = {
    **dict.fromkeys(("segnet_camvid", "segnet_basic_camvid", "bayesian_segnet_camvid"), 40),
    **dict.fromkeys(("unet", "unet_2015"), 25),
    **dict.fromkeys(("deeplab_v2_resnet101", "deeplab_v2_multiscale"), 45),
}
"""Lines of specs that may have fewer than others."""


@each
def test_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert code_lines(path) <= LONGEST.get(path.stem, 80)
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 136
    assert load_net(path).name == path.stem


@pytest.mark.parametrize("path", sorted(FOLDER.glob("blocks/*.yaml")), ids=lambda path: path.stem)
def test_every_library_is_used(path: Path) -> None:
    users = [spec for spec in SPECS if f"{path.stem}" in spec.read_text(encoding="utf-8").partition("layers:")[0]]
    assert users


def test_bayesian_segnet_drops_in_six_places_and_at_test() -> None:
    dropouts = [
        spec.layer for spec in load_net(FOLDER / "bayesian_segnet_camvid.yaml").layers if spec.layer.type == "Dropout"
    ]
    assert len(dropouts) == 6
    assert all(getattr(layer, "sample_weights_test", False) for layer in dropouts)


def test_names_a_weight_file_relies_on() -> None:
    names = [layer.name for layer in load_net(FOLDER / "segnet_camvid.yaml").layers]
    assert names[:8] == ["e1/conv1", "e1/bn1", "e1/relu1", "e1/conv2", "e1/bn2", "e1/relu2", "e1/pool", "e2/conv1"]
    assert names[-4:] == ["d1/relu1", "score", "loss1", "accuracy1"]
    assert sum(name.rpartition("/")[2].startswith("conv") for name in names) == 25
