"""What tests of a run folder stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.spec.write_text("segspec: 1\n")
    return run
