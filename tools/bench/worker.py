"""A contestant's process as the bench sees it: started, asked, and mourned with its reason when it dies."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parents[1]
SHOWN_LETTERS = 300


class DeadError(Exception):
    """A worker has ended, or does not answer; the text says why."""


class FailedError(Exception):
    """A worker could not do what it was asked and can be asked something else; the text says why."""


def environment_of(changes: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment with changes (None: without it), in which the bench can be imported."""
    path = os.pathsep.join(filter(None, (str(TOOLS), os.environ.get("PYTHONPATH"))))
    merged: dict[str, str | None] = {**os.environ, "PYTHONPATH": path, **changes}
    return {name: value for name, value in merged.items() if value is not None}


class Worker:
    """A process that answers requests, a line of JSON each, and idles in between.

    Args:
        command: its command line.
        changes: of the environment.
        patience: seconds after which no answer is taken as death.
    """

    def __init__(self, command: Sequence[str], changes: Mapping[str, str | None] | None = None, patience: float = 1800):
        self.patience = patience
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, it is closed with the worker
        self._rest = b""
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment_of(changes or {}),
            )
        except OSError:
            self._errors.close()
            raise

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            DeadError: the process ended, or takes longer than the patience lasts.
            FailedError: the request could not be met.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise DeadError(self._reason()) from None
        answer: dict[str, Any] = json.loads(self._line())
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer

    def close(self) -> None:
        """Ends the process, gently at first."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + self.patience
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self._process.kill()
                    raise DeadError(f"no answer within {self.patience:g} seconds")
                found = os.read(self._process.stdout.fileno(), 65536)
                if not found:
                    raise DeadError(self._reason())
                self._rest += found
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _reason(self) -> str:
        """How the process ended, and the last line it wrote to standard error."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        ending = describe_status(status)
        return f"{ending}: {lines[-1].strip()[-SHOWN_LETTERS:]}" if lines else ending


def describe_status(status: int) -> str:
    """The end of a process in words."""
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


def serve_command(kind: str, python: str = sys.executable) -> tuple[str, ...]:
    """The command line of a worker of this kind, see `bench.serve`."""
    return (python, "-m", "bench.serve", kind)
