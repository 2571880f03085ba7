"""What every test stands on: JAX on the CPU, searches that repeat, folders of its own, the material kept elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

# Set before anything imports JAX, and inherited by the processes that tests start. There is no compile cache on
# purpose: JAX writes its entries in place, so a process that a test kills would leave a torn one behind. The process is
# not tuned either, so that a test's own process computes exactly as those that it starts.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"
os.environ["SEGSPEC_CACHE"] = ""
os.environ["SEGSPEC_TUNE"] = "0"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
# Most of a test's time goes into compiling programs that then run once or twice on small arrays: machine code that is
# made quickly costs less than what better code would save. Values that the user chose are left alone.
_LEVEL = "--xla_backend_optimization_level"
_FLAGS = os.environ.get("XLA_FLAGS", "")
if _LEVEL not in _FLAGS:
    os.environ["XLA_FLAGS"] = f"{_FLAGS} {_LEVEL}=0".strip()

# Checks that several tests share tell what they compared, as those of a test do.
pytest.register_assert_rewrite("layer_contract")

# The same examples on every machine; `--hypothesis-profile=search` looks for new ones.
_COMPILING = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=_COMPILING)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000, suppress_health_check=_COMPILING)
hypothesis.settings.load_profile("same")


def pytest_configure() -> None:
    """Makes the arrays in a failed assertion readable."""
    np.set_printoptions(precision=6, suppress=True, linewidth=120)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what segspec caches for its user out of the tests, and the tests' out of the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden arrays and real pictures, by default beside the checkout; without it the test is skipped."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("SEGSPEC_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip("needs the shared material: SEGSPEC_SHARED names no folder, and none lies beside the checkout")
    return folder.resolve()


@dataclass(frozen=True)
class Project:
    """What a user has: a folder of pictures with lists, a network spec and a solver."""

    folder: Path

    @property
    def spec(self) -> Path:
        return self.folder / "net.yaml"

    @property
    def solver(self) -> Path:
        return self.folder / "solver.yaml"

    def write_spec(self, layers: str, *, data: str = "", classes: str = "[ground, thing]", name: str = "net") -> Path:
        """Writes a spec with the project's lists; `data` are further fields of both sources of images."""
        source = "{{type: DenseImageData, source: {list}, batch_size: 2{more}}}"
        phases = (("train", "train.txt"), ("test", "val.txt"))
        lines = [f"  {phase}: {source.format(list=self.folder / list, more=data)}" for phase, list in phases]
        head = ["segspec: 1", "name: tiny", f"classes: {classes}", "data:", *lines, "layers:"]
        path = self.folder / f"{name}.yaml"
        path.write_text("\n".join(head) + "\n" + layers)
        return path


NET = """\
  - Convolution: {name: first, num_output: 4, kernel_size: 3, pad: 1}
  - BatchNorm: {name: bn}
  - ReLU
  - Dropout
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss
"""
SOLVER = "{base_lr: 0.05, momentum: 0.9, max_iter: 6, iter_size: 2, display: 1, snapshot: 2}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of six training and three test pictures of 24 x 24: a bright square on dark ground."""
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("train", 6), ("val", 3)):
        lines = [_draw_pair(project.folder, f"{name}{number}", rng) for number in range(count)]
        (project.folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    project.write_spec(NET, data=", shuffle: true, mirror: true")
    project.solver.write_text(SOLVER)
    return project


def _draw_pair(folder: Path, name: str, rng: np.random.Generator) -> str:
    """Writes an image and its label; returns their line of a list."""
    label = np.zeros((24, 24), np.uint8)
    top, left = rng.integers(0, 14, 2)
    label[top : top + 10, left : left + 10] = 1
    image = rng.integers(0, 60, (24, 24, 3)).astype(np.uint8) + 150 * label[..., None]
    Image.fromarray(image.astype(np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(label).save(folder / f"{name}_label.png")
    return f"{name}.png {name}_label.png"
