"""The suite `startup`: how long commands take to begin, with and without compiled programs kept from before."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from bench.contestants import device_environment
from bench.launch import Launch, race
from bench.net_task import SOLVER, SPECS, NetTask
from bench.options import Options
from bench.results import Contest
from bench.suite_data import draw_street

COUNT = 10
FIRST_LINE, FIRST_LOSS = "iteration 1/", '"loss": '


def run_startup(options: Options) -> Iterator[Contest]:
    """`segspec --help` and `check`, then trainings until their first loss, cold and warm."""
    for number, network in enumerate(options.networks):
        if number == 0:
            yield _command_alone("--help", ("--help",), network, options)
        yield _command_alone("check", ("check", str(SPECS[network])), network, options)
    for network, state in product(options.networks, ("cold", "warm")):
        yield _first_loss(network, state, options)


def _command_alone(name: str, arguments: tuple[str, ...], network: str, options: Options) -> Contest:
    """A command from its start to its end, with what it keeps from an earlier time."""
    options.rules.say(f"startup: segspec {' '.join(arguments)}")
    with tempfile.TemporaryDirectory() as cache:
        environment = {**device_environment("segspec", "cpu"), "SEGSPEC_CACHE": cache}
        launch = Launch("segspec", "segspec", (*command(), *arguments), environment=environment)
        return race("startup", {"command": name, "network": network}, [launch], options.rules, warm_up=True)


def command() -> tuple[str, ...]:
    """segspec's own command, as it is installed beside this Python."""
    script = Path(sys.executable).parent / "segspec"
    return (str(script),) if script.is_file() else (sys.executable, "-m", "segspec.cli")


def _first_loss(network: str, state: str, options: Options) -> Contest:
    """Time until the first loss; `cold`: nothing compiled is kept; `warm`: everything is."""
    size, precision = options.sizes[0], options.precisions[0]
    options.rules.say(f"startup: {state} until the first loss of {network} {size[0]}x{size[1]}")
    task = NetTask("train", network, size, 1, precision, options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_street(folder / "street", COUNT, f"{size[0]}x{size[1]}")
        stages = _stages(task, folder, state, options.torch_python)
        wanted = [each for each in stages if not options.contestants or each.name in options.contestants]
        launches = [_command(task, folder, state), *wanted]
        told = {**task._asdict(), "size": list(size), "command": f"train, {state}"}
        return race("startup", told, launches, options.rules, warm_up=state == "warm")


def _command(task: NetTask, folder: Path, state: str) -> Launch:
    """The real command on a drawn data set, without the test that a training otherwise begins with."""
    cache = folder / "command"
    sets = (f"camvid={folder / 'street'}", "data.train.batch_size=1")
    solver_sets = (f"precision={task.precision}", f"solver_mode={task.device.upper()}", "test_initialization=false")
    arguments = ["train", str(SPECS[task.network]), str(SOLVER), "--run", str(folder / "run"), "--overwrite"]
    arguments += [word for text in sets for word in ("--set", text)]
    arguments += [word for text in solver_sets for word in ("--solver-set", text)]
    environment = {**device_environment("segspec", task.device), "SEGSPEC_CACHE": str(cache)}
    emptied = (folder / "run", *[cache] * (state == "cold"))
    return Launch("segspec-train", "segspec", (*command(), *arguments), FIRST_LINE, environment, emptied)


def _stages(task: NetTask, folder: Path, state: str, torch_python: str) -> Iterator[Launch]:
    """Both programs, told to account for their stages; PyTorch eager and compiled."""
    variants = {
        "segspec": ("segspec", "SEGSPEC_CACHE", {}),
        "torch-channels-last": ("torch", "TORCHINDUCTOR_CACHE_DIR", {"channels_last": True, "compile": False}),
        "torch-compile": ("torch", "TORCHINDUCTOR_CACHE_DIR", {"channels_last": True, "compile": True}),
    }
    for name, (family, variable, settings) in variants.items():
        python = torch_python if family == "torch" else sys.executable
        told = json.dumps({**task._asdict(), **settings})
        cache = folder / name
        environment = {**device_environment(family, task.device), variable: str(cache)}
        emptied = (cache,) if state == "cold" else ()
        yield Launch(name, family, (python, "-m", "bench.stages", family, told), FIRST_LOSS, environment, emptied)
