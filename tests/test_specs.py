"""The networks that are shipped: what they count, at which sizes they fit, and how much text they take."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.graph.check import check
from segspec.graph.graph import Graph
from segspec.spec.flatten import flat_text
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net

FOLDER = shipped("specs")
SPECS = sorted(FOLDER.glob("*.yaml"))
COUNTS = {
    "segnet_camvid": 29_449_355,
    "segnet_basic_camvid": 1_416_587,
    "segnet_squares": 612_418,
    "bayesian_segnet_camvid": 29_486_411,
}

each = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)


def graph(path: Path, *overrides: str, size: tuple[int, int] = (101, 203)) -> Graph:
    return build(load_net(path, overrides), "TRAIN", image_inputs(2, *size, 3))


def code_lines(path: Path) -> int:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_counts_what_the_original_counts(name: str, count: int) -> None:
    assert graph(FOLDER / f"{name}.yaml").parameters == count


def test_counts_follow_the_classes() -> None:
    segnet = FOLDER / "segnet_camvid.yaml"
    assert graph(segnet, "classes=21").parameters == 29_455_125
    assert {graph(segnet, f"classes={n}").parameters - 577 * n for n in (2, 3, 100)} == {29_443_008}


def unet_count(classes: int) -> int:
    """Counted by hand: 3x3 convolutions with bias, two numbers a channel of normalisation, 2x2 deconvolutions."""

    def cbr(wide: int, out: int) -> int:
        return 9 * wide * out + out + 2 * out

    down = sum(
        cbr(wide, out) + cbr(out, out) for wide, out in ((3, 64), (64, 128), (128, 256), (256, 512), (512, 1024))
    )
    up = sum(4 * 2 * out * out + out + cbr(2 * out, out) + cbr(out, out) for out in (512, 256, 128, 64))
    return down + up + 64 * classes + classes


def test_unet_counts_what_the_arithmetic_says() -> None:
    assert graph(FOLDER / "unet.yaml").parameters == unet_count(11)


@each
@pytest.mark.parametrize("size", [(101, 203), (64, 64), (360, 480), (33, 47)])
def test_fits_any_size_and_gives_scores_of_the_size_of_the_image(path: Path, size: tuple[int, int]) -> None:
    net = graph(path, size=size)
    assert net.classes is not None
    assert net.prediction == "score"
    assert net.blobs["score"].shape == (2, *size, net.classes.count)


@each
def test_check_tells_its_table(path: Path) -> None:
    spec = load_net(path)
    text = check(spec, (101, 203))
    assert f"images of 101x203x3, {spec.classes.count if spec.classes else 0} classes" in text
    assert f"parameters     {graph(path).parameters:,}  (" in text


@each
def test_flat_text_reads_back_to_an_equal_net(path: Path) -> None:
    spec = load_net(path)
    text = flat_text(spec)
    again = read_net(Source("flat.yaml", text), Path("nowhere"))

    def wiring(net: type(spec)) -> list[tuple[object, ...]]:  # type: ignore[valid-type]
        return [(x.name, x.layer, x.bottoms, x.tops, x.rules, x.rest, x.loss_weights) for x in net.layers]

    assert wiring(again) == wiring(spec)
    assert (again.name, again.classes, again.input, again.data, again.output) == (
        spec.name,
        spec.classes,
        spec.input,
        spec.data,
        spec.output,
    )
    assert flat_text(again) == text


def test_are_short() -> None:
    assert code_lines(FOLDER / "segnet_camvid.yaml") <= 40
    assert code_lines(FOLDER / "unet.yaml") <= 25


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
