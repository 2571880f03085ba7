"""What tests of whole trainings stand on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_runs import Hook

from segspec.run.log import Log
from segspec.train import curves


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def quick(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same small net is trained again and again: it is compiled once, and no curves are drawn."""
    monkeypatch.setenv("SEGSPEC_CACHE", str(compiled))
    monkeypatch.setattr(curves, "draw_curves", lambda records, path: path.write_text(str(len(records))))


@pytest.fixture
def on_display(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hook], None]:
    """Calls a function with each record that a training is about to log."""

    def install(hook: Hook) -> None:
        append = Log.append

        def hooked(self: Log, record: dict[str, Any]) -> None:
            hook(record)
            append(self, record)

        monkeypatch.setattr(Log, "append", hooked)

    return install
