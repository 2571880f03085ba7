"""The command line: arguments and calls, no logic. Heavy modules are imported by the verb that needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segspec.errors import SegspecError, UsageError
from segspec.messages import warn
from segspec.tuning import tune_process

if TYPE_CHECKING:
    from segspec.spec.netspec import NetSpec

Handler = Callable[[argparse.Namespace], int | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status: 0 done, 1 failed, 2 wrong use or wrong spec, 130/143 stopped."""
    options = _parser().parse_args(arguments)
    handler: Handler = options.handler
    try:
        status = handler(options) or 0
        if sys.stdout is not None:  # as it is where a shell has closed it
            sys.stdout.flush()  # while it can still be noticed that nothing reads it
        return status
    except SegspecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _give_up_output()
        return 0
    except OSError as error:
        if error.filename is not None:  # a folder without permission, a disk that fails
            print(f"{os.fsdecode(error.filename)}: {error.strerror}", file=sys.stderr)
            return 1
        if _takes_output():
            raise
        _give_up_output()
        print(f"standard output cannot be written: {error.strerror or error}", file=sys.stderr)
        return 1


def _takes_output() -> bool:
    """Whether standard output can be written, tried with an empty line."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def _give_up_output() -> None:
    """Lets what waits to be written go nowhere, so that Python does not complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _VerbParser(argparse.ArgumentParser):
    """A parser of a verb's arguments that takes options and all others in any order."""

    _intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses with `parse_known_intermixed_args`, which itself comes back here in Python 3.11."""
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segspec",
        description="Networks for semantic segmentation, written as text.",
        epilog="segspec VERB --help shows an example of each verb.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_VerbParser)
    _add_train(verbs)
    _add_statistics(verbs)
    _add_test(verbs)
    _add_check(verbs)
    _add_expand(verbs)
    _add_convert(verbs)
    _add_synthesize(verbs)
    return parser


def _verb(
    verbs: argparse._SubParsersAction[_VerbParser], name: str, help: str, example: str, handler: Handler
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a value of the spec, such as classes=21 or data.train.batch_size=2; may be repeated",
    )


def _add_weights_map(parser: argparse.ArgumentParser) -> None:
    help = "which layers of --weights the net's layers take, where names differ: a YAML file, or a shipped one's name"
    parser.add_argument("--weights-map", metavar="FILE_OR_NAME", help=help)


def _refuse_map_alone(options: argparse.Namespace) -> None:
    if options.weights_map and options.weights is None:
        raise UsageError("--weights-map says what --weights gives to whom", hint="add --weights FILE")


def _count(text: str) -> int:
    """A whole number from 1 on."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"takes a whole number from 1 on, got '{text}'")


def _count_or_none(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == "0" else _count(text)


def _add_check(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = "  segspec check specs/segnet_camvid.yaml --size 180x240"
    parser = _verb(verbs, "check", "show every layer, its size and cost, or every mistake", example, _check)
    parser.add_argument("spec", type=Path, help="network spec")
    parser.add_argument("--size", metavar="HxW", help="height and width of the images, in pixels")
    parser.add_argument(
        "--phase", choices=("train", "test", "deploy"), default="train", help="deploy: without labels (default: train)"
    )
    parser.add_argument(
        "--stage", metavar="NAME", action="append", default=[], help="a stage of a prototxt; may be repeated"
    )
    parser.add_argument("--level", type=int, metavar="N", help="the level of a prototxt")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    _add_set(parser)


def _check(options: argparse.Namespace) -> None:
    from segspec.graph.check import check, find_doubts
    from segspec.spec.net import load_net

    phase, size = options.phase.upper(), _size(options.size)
    spec = load_net(options.spec, options.overrides, phase, stages=options.stage, level=options.level)
    warn(*spec.warnings)
    print(check(spec, size, phase, json=options.json))
    warn(*(find_doubts(spec, size) if phase == "TRAIN" else ()))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    if cross and height.isdecimal() and width.isdecimal() and int(height) and int(width):
        return (int(height), int(width))
    raise UsageError(f"--size takes HEIGHTxWIDTH in pixels, such as 360x480; got '{text}'")


def _add_expand(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = "  segspec expand specs/unet.yaml > flat.yaml"
    parser = _verb(verbs, "expand", "print the flat network with every default filled in", example, _expand)
    parser.add_argument("spec", type=Path, help="network spec")
    _add_set(parser)


def _expand(options: argparse.Namespace) -> None:
    from segspec.spec.flatten import flat_text

    print(flat_text(_load_net(options)), end="")


def _add_convert(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = (
        "  segspec convert train_val.prototxt net.yaml\n"
        "  segspec convert specs/unet.yaml deploy.prototxt --deploy --size 256x256\n"
        "  segspec convert vgg.caffemodel vgg.safetensors --net deploy.prototxt\n"
        "  segspec convert runs/unet unet.caffemodel\n"
        "  segspec convert runs/unet unet.solverstate"
    )
    help = "turn nets, solvers and weights of Caffe into segspec's, and back"
    parser = _verb(verbs, "convert", help, example, _convert)
    parser.add_argument("source", type=Path, help="net, solver, weights, or run folder")
    parser.add_argument(
        "target", type=Path, help="file to make: .yaml, .prototxt, .safetensors, .caffemodel; of a run .solverstate"
    )
    parser.add_argument("--net", type=Path, metavar="SPEC_OR_RUN", help="the net that weights belong to")
    parser.add_argument("--size", metavar="HxW", help="height and width for the sizes that Caffe wants as numbers")
    parser.add_argument("--deploy", action="store_true", help="a prototxt for inference, without data and losses")
    parser.add_argument("--flat", action="store_true", help="YAML without blocks")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    _add_set(parser)


def _convert(options: argparse.Namespace) -> None:
    if options.target.suffix == ".solverstate":
        from segspec.train.to_caffe import write_caffe_training

        write_caffe_training(options.source, options.target, overwrite=options.overwrite)
        return
    from segspec.convert.command import Request, convert

    convert(
        Request(
            source=options.source,
            target=options.target,
            net=options.net,
            size=_size(options.size),
            deploy=options.deploy,
            blocks=not options.flat,
            overwrite=options.overwrite,
            overrides=tuple(options.overrides),
        )
    )


def _load_net(options: argparse.Namespace) -> NetSpec:
    """The spec that the arguments name; what its file says that has no meaning here goes to standard error."""
    from segspec.spec.net import load_net

    spec = load_net(options.spec, options.overrides)
    warn(*spec.warnings)
    return spec


def _add_train(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = (
        "  segspec train specs/segnet_camvid.yaml solvers/sgd.yaml --set camvid=data/camvid\n"
        "  segspec train --resume runs/segnet_camvid"
    )
    parser = _verb(verbs, "train", "train a network", example, _train)
    parser.add_argument("spec", type=Path, nargs="?", help="network spec")
    parser.add_argument("solver", type=Path, nargs="?", help="solver file; one of Caffe's may stand alone")
    parser.add_argument("--run", type=Path, metavar="DIR", help="run folder to make (default runs/NAME)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on where this run was stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is there when the new one runs")
    parser.add_argument("--weights", type=Path, metavar="FILE_OR_RUN", help="start from these weights, by layer name")
    _add_weights_map(parser)
    parser.add_argument(
        "--skip", metavar="LAYER", action="append", default=[], help="a layer that --weights leaves alone"
    )
    help = "go on with a training of Caffe from the state of its solver; its weights are those it names, or --weights"
    parser.add_argument("--solverstate", type=Path, metavar="FILE", help=help)
    parser.add_argument(
        "--workers", type=_count_or_none, metavar="N", help="threads that read images (default: one a core, up to 4)"
    )
    _add_set(parser)
    parser.add_argument(
        "--solver-set",
        dest="solver_overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a value of the solver, such as max_iter=100; may be repeated",
    )


def _train(options: argparse.Namespace) -> int:
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
    _refuse_map_alone(options)
    if options.resume is not None:
        if options.spec or options.weights or options.run or options.overwrite or options.skip or options.solverstate:
            others = "--run, --weights, --skip, --solverstate and --overwrite"
            hint = f"leave out SPEC, SOLVER, {others}; --set and --solver-set may stay"
            raise UsageError("--resume goes on with a run as it is", hint=hint)
    elif options.spec is None:
        raise UsageError("train takes a network spec and a solver", hint="segspec train SPEC SOLVER, or --resume RUN")
    elif options.skip and options.weights is None:
        raise UsageError("--skip says what --weights leaves alone", hint="add --weights FILE_OR_RUN")


def _add_statistics(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = (
        "  segspec compute-bn-stats runs/segnet_camvid --mode exact\n"
        "  segspec compute-bn-stats train.prototxt --weights iter_10000.caffemodel --out test_weights.caffemodel"
    )
    help = "measure what batch normalisation infers with, over the training images"
    parser = _verb(verbs, "compute-bn-stats", help, example, _compute_statistics)
    parser.add_argument("model", type=Path, help="run folder, or a spec together with --weights")
    parser.add_argument("--weights", type=Path, metavar="FILE_OR_RUN", help="weights for a spec")
    _add_weights_map(parser)
    parser.add_argument(
        "--mode",
        choices=("exact", "tutorial"),
        default="exact",
        help="exact: mean and variance over all pixels; tutorial: averages over batches, as SegNet's script",
    )
    parser.add_argument("--fold", action="store_true", help="also write a net with the statistics merged into it")
    help = (
        "weights to infer with: a .safetensors that holds the statistics, or a .caffemodel, in which they are folded "
        "into the scale and shift of SegNet's BN; or a folder (default: RUN/bn, for a spec test_weights here)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE_OR_DIR", help=help)
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out if it exists")
    parser.add_argument("--images", type=Path, metavar="LIST_OR_FOLDER", help="images to use instead of the spec's own")
    parser.add_argument("--batch-size", type=_count, metavar="N", help="images in one batch (default: as in training)")
    parser.add_argument("--snapshot", default="best", metavar="best|last|N", help="which snapshot of the run")
    _add_set(parser)


def _compute_statistics(options: argparse.Namespace) -> None:
    _refuse_map_alone(options)
    tune_process()
    from segspec.evaluate.compute_statistics import Request, compute_statistics

    _prepare_as(options.model)
    compute_statistics(
        Request(
            model=options.model,
            mode=options.mode,
            weights=options.weights,
            weights_map=options.weights_map,
            overrides=tuple(options.overrides),
            images=options.images,
            batch_size=options.batch_size,
            merge=options.fold,
            snapshot=options.snapshot,
            out=options.out,
            overwrite=options.overwrite,
        )
    )


def _add_test(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = (
        "  segspec test runs/segnet_camvid photos/\n"
        "  segspec test runs/segnet_camvid data/camvid/val.txt\n"
        "  segspec test specs/segnet_camvid.yaml --weights w.safetensors photos/a.jpg"
    )
    parser = _verb(verbs, "test", "segment images: masks, overlays, sheets and, with labels, tables", example, _test)
    parser.add_argument("model", type=Path, help="run folder, or a spec together with --weights")
    parser.add_argument("images", nargs="*", help="images, folders, or list files (default: the run's own test images)")
    parser.add_argument("--weights", type=Path, metavar="FILE_OR_RUN", help="weights for a spec")
    _add_weights_map(parser)
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help="label images of the same names")
    help = (
        "class table of a net that declares none, as in a prototxt: one shipped, such as camvid, a file, or [NAME, ...]"
    )
    parser.add_argument("--classes", metavar="NAME_OR_FILE", help=help)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default RUN/test)")
    parser.add_argument(
        "--statistics",
        choices=("auto", "computed", "running", "batch"),
        default="auto",
        help="what batch normalisation uses; auto: computed ones if there are any, else running averages",
    )
    parser.add_argument("--snapshot", default="best", metavar="best|last|N", help="which snapshot of the run")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument(
        "--samples",
        type=_count,
        default=1,
        metavar="N",
        help="ask a Bayesian net, random at test, N times: mean prediction and uncertainty (default 1)",
    )
    parser.add_argument(
        "--sheets", type=_count_or_none, default=20, metavar="N", help="how many sheets to draw (default 20)"
    )
    _add_set(parser)


def _test(options: argparse.Namespace) -> None:
    _refuse_map_alone(options)
    tune_process()
    from segspec.evaluate.test import Request, test

    _prepare_as(options.model)
    test(
        Request(
            model=options.model,
            images=tuple(options.images),
            weights=options.weights,
            labels=options.labels,
            out=options.out,
            statistics=options.statistics,
            snapshot=options.snapshot,
            json=options.json,
            sheets=options.sheets,
            overrides=tuple(options.overrides),
            weights_map=options.weights_map,
            samples=options.samples,
            classes=options.classes,
        )
    )


def _prepare_as(run: Path) -> None:
    """Sets JAX up as the training of a run did, so that its net is asked at the precision it was trained with."""
    from segspec.run.folder import RunFolder
    from segspec.spec.solver_file import load_solver
    from segspec.train.runtime import prepare

    solver = RunFolder(run).solver
    prepare(load_solver(solver) if solver.is_file() else None)


def _add_synthesize(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    example = "  segspec synthesize street data/street --count 200 --size 120x160"
    parser = _verb(verbs, "synthesize", "draw a data set: images, labels and list files", example, _synthesize)
    parser.add_argument("kind", choices=("squares", "street"), help="what to draw")
    parser.add_argument("folder", type=Path, help="where to put it")
    parser.add_argument("--count", type=_count, default=100, metavar="N", help="training images (default 100)")
    parser.add_argument("--size", metavar="HxW", help="height and width of the images, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other pictures")


def _synthesize(options: argparse.Namespace) -> None:
    from segspec.data.synthetic import write_dataset

    write_dataset(options.kind, options.folder, options.count, _size(options.size), options.seed)


if __name__ == "__main__":
    sys.exit(main())
