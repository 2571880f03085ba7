"""The command line: what is refused before work begins, exit statuses, and that asking for help costs nothing."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segspec.cli import check, main, train
from segspec.cli import test as test_verb

ROOT = Path(__file__).resolve().parent.parent
VERBS = ("train", "compute-bn-stats", "test", "check", "expand", "synthesize")
NET = """segspec: 1
name: tiny
classes: [ground, thing]
params: {width: 4}
input: {height: 8, width: 8}
layers:
  - Convolution: {name: first, num_output: $width, kernel_size: 3, pad: 1}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "net.yaml"
    path.write_text(NET)
    return str(path)


def run_python(code: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs a program in a process of its own; gives the seconds of processor time as well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def status_of(*arguments: str) -> int:
    """The exit status, whether `main` returns it or the parser leaves."""
    try:
        return main(arguments)
    except SystemExit as leaving:
        return int(leaving.code or 0)


def test_help_of_every_verb_loads_nothing_heavy_and_shows_an_example() -> None:
    code = """
import sys, time
start = time.process_time()
from segspec.cli import main
for verb in sys.argv[1:]:
    try:
        main([verb, "--help"])
    except SystemExit as leaving:
        assert not leaving.code
heavy = {"jax", "numpy", "pydantic", "yaml", "rich", "cv2", "PIL", "matplotlib", "optax", "flax"} & set(sys.modules)
print(time.process_time() - start, *sorted(heavy), file=sys.stderr)
"""
    done, _ = run_python(code, *VERBS)
    assert done.returncode == 0, done.stderr
    seconds, *heavy = done.stderr.split()
    assert heavy == []
    assert float(seconds) < 0.3, "0.13 s on a busy machine"
    assert done.stdout.count("example:\n  segspec ") == len(VERBS)


@pytest.mark.parametrize(("native", "told"), [("0", "turned off by SEGSPEC_NATIVE=0"), ("none", "convolutions")])
def test_version_says_what_convolves_and_why_no_native_kernels_do(native: str, told: str) -> None:
    code = "import sys; from segspec.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEGSPEC_NATIVE": native}
    command = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("segspec ") and first.endswith("on CPU (XLA convolutions)")
    assert told in second


def test_a_broken_spec_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(NET.replace("Convolution: {name: score", "Convolutoin: {name: score"))
    code = """
import sys
from segspec.cli import main
status = main(["check", sys.argv[1]])
heavy = {"cv2", "PIL", "matplotlib", "optax", "flax", "rich", "safetensors"} & set(sys.modules)
print(*sorted(heavy))
sys.exit(status)
"""
    done, seconds = run_python(code, str(path))
    assert (done.returncode, done.stdout) == (2, "\n")
    assert done.stderr.startswith(f"{path}:8:5: unknown layer type 'Convolutoin'\n")
    assert "did you mean 'Convolution'?" in done.stderr
    assert seconds < 3.0, "1.1 s where nothing else runs"


def test_check_loads_only_what_it_needs(net: str) -> None:
    code = """
import sys
from segspec.cli import main
status = main(["check", sys.argv[1]])
heavy = {"cv2", "PIL", "matplotlib", "optax", "flax", "rich", "safetensors"}
print(*sorted(heavy & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""
    done, _ = run_python(code, net)
    assert (done.returncode, done.stderr) == (0, "\n")


def test_a_training_has_its_first_loss_before_what_only_pictures_need_is_loaded(project: Any, tmp_path: Path) -> None:
    code = """
import sys
from segspec.cli import main
from segspec.train.loop import Training
def stop(self, *rest):
    sys.exit(" ".join(sorted({"matplotlib", "rich", "flax", "h5py", "lmdb"} & set(sys.modules))))
Training._report = stop
main(sys.argv[1:])
"""
    done, _ = run_python(code, "train", str(project.spec), str(project.solver), "--run", str(tmp_path / "run"))
    assert done.stderr.splitlines()[-1:] == [""], done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("tarin",),
        ("check",),
        ("check", "net.yaml", "--sise", "8x8"),
        ("train",),
        ("train", "net.yaml"),
        ("train", "net.yaml", "solver.yaml", "--workers", "-1"),
        ("train", "net.yaml", "solver.yaml", "--workers", "two"),
        ("train", "net.yaml", "solver.yaml", "--skip", "score"),
        ("train", "net.yaml", "solver.yaml", "--resume", "run"),
        ("train", "--resume", "run", "--run", "other"),
        ("train", "--resume", "run", "--weights", "w.safetensors"),
        ("train", "--resume", "run", "--overwrite"),
        ("compute-bn-stats", "run", "--batch-size", "0"),
        ("compute-bn-stats", "run", "--mode", "guess"),
        ("test", "run", "--sheets", "-1"),
        ("test", "nowhere"),
        ("synthesize", "cats", "folder"),
        ("synthesize", "squares", "folder", "--size", "12"),
    ],
)
def test_wrong_use_ends_with_2_and_a_message(arguments: tuple[str, ...], capsys: Any) -> None:
    assert status_of(*arguments) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert told.strip()
    assert "Traceback" not in told


def test_options_and_arguments_come_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(test_verb, "run", seen.append)
    monkeypatch.setattr(train, "run", seen.append)
    for arguments in (
        ["test", "net.yaml", "--weights", "w", "a.png", "--json", "b.png"],
        ["test", "--json", "net.yaml", "a.png", "b.png", "--weights", "w"],
    ):
        assert main(arguments) == 0
        assert (str(seen[-1].model), seen[-1].images, str(seen[-1].weights)) == ("net.yaml", ["a.png", "b.png"], "w")
    assert main(["train", "net.yaml", "--set", "a=1", "solver.yaml", "--set", "b=2"]) == 0
    assert (str(seen[-1].solver), seen[-1].overrides) == ("solver.yaml", ["a=1", "b=2"])
    assert main(["test", "run"]) == 0
    assert seen[-1].images == []


def test_check_prints_its_table_and_takes_overrides(net: str, capsys: Any) -> None:
    assert main(["check", net]) == 0
    out, told = capsys.readouterr()
    assert out.startswith("tiny, images of 8x8x3, 2 classes\n")
    assert told == ""
    assert main(["check", net, "--set", "width=7", "--size", "16x12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 7 * 28 + 2 * 8


def listed(folder: Path, name: str, size: tuple[int, int]) -> str:
    """A line of a spec, for images of one (height, width)."""
    for kind, array in (("image", np.zeros((*size, 3), np.uint8)), ("label", np.zeros(size, np.uint8))):
        cv2.imwrite(str(folder / f"{name}-{kind}.png"), array)
    (folder / f"{name}.txt").write_text(f"{name}-image.png {name}-label.png\n")
    return f"  {name}: {{type: DenseImageData, source: {folder / name}.txt, batch_size: 1}}\n"


def test_check_takes_the_size_of_the_images_where_nothing_else_says_it(net: str, tmp_path: Path, capsys: Any) -> None:
    data = "data:\n" + listed(tmp_path, "train", (12, 20)) + listed(tmp_path, "test", (16, 24))
    Path(net).write_text(NET.replace("input: {height: 8, width: 8}\n", data))
    for options, size in ([], "12x20"), (["--phase", "test"], "16x24"), (["--size", "8x4"], "8x4"):
        assert main(["check", net, *options]) == 0
        assert capsys.readouterr().out.startswith(f"tiny, images of {size}x3, 2 classes\n")
    (tmp_path / "train.txt").unlink()
    assert main(["check", net]) == 2
    assert "the size of the images is not known" in capsys.readouterr().err


def test_check_warns_of_what_training_would_refuse(net: str, capsys: Any) -> None:
    text = Path(net).read_text().replace("num_output: $classes", "num_output: 5")
    Path(net).write_text(text)
    capsys.readouterr()
    assert main(["check", net]) == 0
    out, told = capsys.readouterr()
    assert out.startswith("tiny, images of 8x8x3")
    assert told == f"{net}: warning: 'score' has 5 channels for 2 classes\n  write num_output: $classes\n"


def test_expand_prints_a_spec_that_means_the_same(net: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["expand", net, "--set", "width=5"]) == 0
    flat = tmp_path / "flat.yaml"
    flat.write_text(capsys.readouterr().out)
    assert main(["expand", str(flat)]) == 0
    assert capsys.readouterr().out == flat.read_text()
    assert "num_output: 5" in flat.read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("widht=3", "did you mean 'width'?"),
        ("width", "KEY=VALUE"),
        ("width=none", "num_output"),
        ("data.train.batch_size=2", "data"),
    ],
)
def test_a_wrong_override_is_one_message(override: str, message: str, net: str, capsys: Any) -> None:
    assert main(["check", net, "--set", override]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_an_interrupt_is_130_and_a_reader_that_left_is_no_error(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run", interrupted)
    assert main(["check", net]) == 130
    monkeypatch.undo()
    code = "import sys; from segspec.cli import main; sys.exit(main(['expand', sys.argv[1]]))"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = subprocess.Popen(
        [sys.executable, "-c", code, net],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**buffered, "PYTHONPATH": str(ROOT)},
    )
    assert pipe.stdout is not None and pipe.stderr is not None
    pipe.stdout.close()
    told = pipe.stderr.read().decode()
    pipe.stderr.close()
    assert (pipe.wait(), told) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", ["check", "expand"])
def test_an_output_that_cannot_be_written_is_one_message(verb: str, unbuffered: str, net: str) -> None:
    code = "import sys; from segspec.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-c", code, verb, net]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr == "standard output cannot be written: No space left on device\n"


def test_an_output_that_is_closed_is_nothing_to_write_to(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["check", net]) == 0


def test_an_error_of_the_system_that_is_no_users_mistake_is_not_hidden(
    net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(check, "run", fail)
    with pytest.raises(OSError, match="Input/output error"):
        main(["check", net])


def test_a_folder_that_cannot_be_read_is_one_message(net: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(options: object) -> None:
        raise PermissionError(13, "Permission denied", "runs/a/snapshots")

    monkeypatch.setattr(check, "run", fail)
    assert main(["check", net]) == 1
    assert tuple(capsys.readouterr()) == ("", "runs/a/snapshots: Permission denied\n")


def test_a_missing_file_is_named(tmp_path: Path, capsys: Any) -> None:
    for verb in ("check", "expand"):
        assert main([verb, str(tmp_path / "none.yaml")]) == 2
        assert f"{tmp_path}/none.yaml: " in capsys.readouterr().err
    assert main(["train", str(tmp_path / "none.yaml"), str(tmp_path / "solver.yaml")]) == 2


def test_synthesize_writes_what_train_reads(tmp_path: Path, capsys: Any) -> None:
    assert main(["synthesize", "squares", str(tmp_path / "s"), "--count", "2", "--size", "24x32"]) == 0
    assert (tmp_path / "s" / "train.txt").is_file()
    out, told = capsys.readouterr()
    assert out == ""
    assert told == f"done: {tmp_path / 's'} (train.txt, val.txt, test.txt), for a net with classes: squares\n"
    for count in ("0", "-1", "many"):
        assert status_of("synthesize", "squares", str(tmp_path / "t"), "--count", count) == 2
    assert not (tmp_path / "t").exists()
