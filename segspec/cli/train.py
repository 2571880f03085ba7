"""`segspec train`: a new training, or one that goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_set, add_verb, add_weights_map, count_or_none, refuse_map_alone
from segspec.errors import UsageError
from segspec.tuning import tune_process


def add(verbs: Verbs) -> None:
    """Adds the verb `train`."""
    example = (
        "  segspec train specs/segnet_camvid.yaml solvers/sgd.yaml --set camvid=data/camvid\n"
        "  segspec train --resume runs/segnet_camvid"
    )
    parser = add_verb(verbs, "train", "train a network", example, run)
    parser.add_argument("spec", type=Path, nargs="?", help="network spec")
    parser.add_argument("solver", type=Path, nargs="?", help="solver file; one of Caffe's may stand alone")
    parser.add_argument("--run", type=Path, metavar="DIR", help="run folder to make (default runs/NAME)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on where this run was stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is there when the new one runs")
    parser.add_argument("--weights", type=Path, metavar="FILE_OR_RUN", help="start from these weights, by layer name")
    add_weights_map(parser)
    parser.add_argument(
        "--skip", metavar="LAYER", action="append", default=[], help="a layer that --weights leaves alone"
    )
    help = "go on with a training of Caffe from the state of its solver; its weights are those it names, or --weights"
    parser.add_argument("--solverstate", type=Path, metavar="FILE", help=help)
    parser.add_argument(
        "--workers", type=count_or_none, metavar="N", help="threads that read images (default: one a core, up to 4)"
    )
    add_set(parser)
    parser.add_argument(
        "--solver-set",
        dest="solver_overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a value of the solver, such as max_iter=100; may be repeated",
    )


def run(options: argparse.Namespace) -> int:
    """Runs it with what the command line says."""
    _check_train(options)
    tune_process()
    from segspec.evaluate.validate import make_validator
    from segspec.train.command import Request, resume, train

    if options.resume is not None:
        return resume(options.resume, options.overrides, options.solver_overrides, make_validator, options.workers)
    alone = options.solver is None
    request = Request(
        spec=None if alone else options.spec,
        solver=options.spec if alone else options.solver,
        run=options.run,
        overrides=tuple(options.overrides),
        solver_overrides=tuple(options.solver_overrides),
        weights=options.weights,
        weights_map=options.weights_map,
        skip=tuple(options.skip),
        solverstate=options.solverstate,
        overwrite=options.overwrite,
        workers=options.workers,
    )
    return train(request, make_validator)


def _check_train(options: argparse.Namespace) -> None:
    """Refuses arguments that contradict each other."""
    refuse_map_alone(options)
    if options.resume is not None:
        if options.spec or options.weights or options.run or options.overwrite or options.skip or options.solverstate:
            others = "--run, --weights, --skip, --solverstate and --overwrite"
            hint = f"leave out SPEC, SOLVER, {others}; --set and --solver-set may stay"
            raise UsageError("--resume goes on with a run as it is", hint=hint)
    elif options.spec is None:
        raise UsageError("train takes a network spec and a solver", hint="segspec train SPEC SOLVER, or --resume RUN")
    elif options.skip and options.weights is None:
        raise UsageError("--skip says what --weights leaves alone", hint="add --weights FILE_OR_RUN")
