from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segspec.cli import main
from segspec.evaluate.compute_statistics import Request, compute_statistics, measure
from segspec.evaluate.load import COMPUTED, load_run, load_weighted, with_statistics
from segspec.evaluate.predict import Predictor
from segspec.run.folder import RunFolder
from segspec.spec.flatten import flat_text
from segspec.spec.net import load_net
from segspec.weights.files import read_weights

LAYERS = """\
  - Convolution: {name: conv, num_output: 3, kernel_size: 1}
  - BatchNorm: {name: bn}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss
"""


@pytest.fixture
def run(project: Any, make_model: Any, make_run: Any) -> RunFolder:
    text = flat_text(load_net(project.write_spec(LAYERS, data=", shuffle: true, mirror: true, rotate: 30.0")))
    model = make_model(text.split("\n", 2)[2])
    return make_run(project.folder / "run", text, model, (1, 2))


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def inputs(run: RunFolder, images: list[np.ndarray]) -> list[np.ndarray]:
    """The input of the normalisation for each image, one row a pixel: a 1 x 1 convolution is a matrix."""
    params = load_run(run.path).model.params["conv"]
    weight, bias = (np.asarray(params[name], np.float64) for name in ("weight", "bias"))
    return [image.reshape(-1, 3).astype(np.float64) @ weight.reshape(3, 3) + bias for image in images]


def pictures(project: Any) -> list[np.ndarray]:
    return [np.asarray(Image.open(project.folder / f"train{n}.png"))[..., ::-1] for n in range(6)]


def test_every_training_image_counts_once_unvaried(run: RunFolder, project: Any, capsys: Any) -> None:
    before = digests(run.snapshots)
    path = compute_statistics(Request(run.path, "exact", batch_size=4))
    every = np.concatenate(inputs(run, pictures(project)))
    blobs, about = read_weights(path)
    np.testing.assert_allclose(blobs["bn"]["mean"], every.mean(0), rtol=1e-4)
    np.testing.assert_allclose(blobs["bn"]["variance"], every.var(0), rtol=1e-4)
    assert blobs["bn"]["factor"].shape == ()
    assert (about["iteration"], about["mode"], about["images"], about["batch_size"]) == ("2", "exact", "6", "4")
    assert digests(run.snapshots) == before, "the snapshots are as they were"
    out, told = capsys.readouterr()
    assert out == f"{path}: exact statistics of 1 layers over 6 images, for iteration 2 (best and last)\n"
    assert told == f"compare: segspec test {run.path} --statistics computed, and --statistics running\n"


def test_the_tutorials_count_of_batches_goes_round(run: RunFolder, project: Any) -> None:
    """6 images in batches of 4: 6 // 4 + 6 mod 4 = 3 batches, of which the second begins anew after two images."""
    path = compute_statistics(Request(run.path, "tutorial", batch_size=4))
    rows = inputs(run, pictures(project))
    batches = [np.concatenate([rows[n % 6] for n in range(start, start + 4)]) for start in (0, 4, 8)]
    blobs, about = read_weights(path)
    assert about["images"] == "12"
    np.testing.assert_allclose(blobs["bn"]["mean"], np.mean([b.mean(0) for b in batches], 0), rtol=1e-4)
    np.testing.assert_allclose(blobs["bn"]["variance"], np.mean([b.var(0) for b in batches], 0), rtol=1e-4)


def test_images_of_different_sizes_all_count(run: RunFolder, project: Any) -> None:
    for number in (1, 3, 4):
        path = project.folder / f"train{number}.png"
        Image.open(path).crop((0, 0, 20 - number, 22)).save(path)
    loaded = load_run(run.path)
    images = project.folder / "own.txt"
    images.write_text("".join(f"train{n}.png\n" for n in range(6)))
    path = compute_statistics(Request(run.path, "exact", images=images, batch_size=4))
    every = np.concatenate(inputs(run, pictures(project)))
    blobs, about = read_weights(path)
    np.testing.assert_allclose(blobs["bn"]["mean"], every.mean(0), rtol=1e-4)
    assert about["images"] == "6"
    assert loaded.iteration == 2


def test_the_test_verb_uses_them(run: RunFolder) -> None:
    compute_statistics(Request(run.path, "exact", snapshot="1"))
    assert (
        with_statistics(load_run(run.path, "1"), "auto").model.origin
        == "computed by compute-bn-stats (exact, 6 images)"
    )
    assert with_statistics(load_run(run.path, "2"), "auto").model.origin == "running averages of the training"


def test_a_folded_net_predicts_the_same_without_statistics(run: RunFolder, capsys: Any) -> None:
    compute_statistics(Request(run.path, "exact", merge=True))
    assert "1 normalisations merged into their convolutions\n" in capsys.readouterr().out
    folded = load_weighted(run.statistics / "folded.yaml", run.statistics / "folded.safetensors")
    assert folded.warnings == ()
    assert folded.model.state == {}
    image = np.random.default_rng(1).integers(0, 256, (13, 17, 3), np.uint8)
    expected = Predictor(with_statistics(load_run(run.path), "computed").model).predict(image).labels
    found = Predictor(with_statistics(folded, "auto").model).predict(image).labels
    assert (found == expected).mean() > 0.99


def test_what_stays_unfolded_keeps_its_statistics_through_the_file(
    project: Any, make_model: Any, make_run: Any
) -> None:
    layers = LAYERS.replace("  - BatchNorm", "  - ReLU\n  - BatchNorm")
    text = flat_text(load_net(project.write_spec(layers)))
    run = make_run(project.folder / "run", text, make_model(text.split("\n", 2)[2]))
    compute_statistics(Request(run.path, "exact", merge=True))
    folded = load_weighted(run.statistics / "folded.yaml", run.statistics / "folded.safetensors")
    computed = read_weights(run.statistics / COMPUTED)[0]
    for name, array in computed["bn"].items():
        np.testing.assert_array_equal(folded.model.state["bn"][name], array)


def test_what_cannot_be_measured_says_why(
    project: Any, make_model: Any, make_run: Any, run: RunFolder, capsys: Any
) -> None:
    plain = flat_text(load_net(project.write_spec(LAYERS.replace("  - BatchNorm: {name: bn}\n", ""))))
    other = make_run(project.folder / "plain", plain, make_model(plain.split("\n", 2)[2]))
    assert main(["compute-bn-stats", str(other.path)]) == 2
    assert "no layer of the net keeps statistics" in capsys.readouterr().err
    assert main(["compute-bn-stats", str(project.folder / "none")]) == 2
    assert main(["compute-bn-stats", str(run.path), "--images", str(project.folder / "none.png")]) == 1
    assert "no such image, folder or list" in capsys.readouterr().err
    (project.folder / "train4.png").write_bytes(b"\x89PNG broken")
    assert main(["compute-bn-stats", str(run.path)]) == 1
    assert "train4.png" in capsys.readouterr().err
    assert not run.statistics.exists()


def test_measuring_is_the_same_for_any_size_of_batch(run: RunFolder, project: Any) -> None:
    from segspec.data.sources import open_source

    model = load_run(run.path).model
    source = open_source(model.spec.data["test"], None, Path())
    (one, used), (other, _) = (measure(model, source, "exact", batch) for batch in (1, 3))
    assert used == 3
    np.testing.assert_allclose(one["bn"]["variance"], other["bn"]["variance"], rtol=1e-5)
