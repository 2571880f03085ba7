"""`segspec convert`: a net, a solver or weights from one program's form to the other's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segspec.atomic import refuse_taken, write_atomically
from segspec.convert.entry import entries_of
from segspec.convert.prototxt import prototxt_text
from segspec.convert.solver import solver_prototxt
from segspec.convert.weights import convert_weights
from segspec.convert.yaml import spec_text
from segspec.errors import Diagnostic, Source, SpecError, UsageError
from segspec.graph.nominal import nominal_graph
from segspec.messages import warn
from segspec.run.folder import open_run
from segspec.spec.library import shipped_hint
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import NetSpec, Phase
from segspec.spec.solver_file import is_solver, load_caffe_solver, load_solver, solver_text
from segspec.syntax.prototxt import is_prototxt

NETS = (".yaml", ".prototxt")
WEIGHTS = (".safetensors", ".caffemodel")


@dataclass(frozen=True)
class Request:
    """What the command line asks of a conversion.

    Attributes:
        source: a net, a solver, weights, or a run folder, which is whatever the target asks for.
        target: the file to make; its ending says what it becomes.
        net: the net that weights belong to.
        size: (height, width) of the images, for sizes that Caffe wants as numbers.
        deploy: whether a prototxt is for inference: without sources of images, losses and metrics.
        blocks: whether repetitions in YAML become blocks.
        overwrite: whether the target may exist.
        overrides: `KEY=VALUE` texts for the net.
    """

    source: Path
    target: Path
    net: Path | None = None
    size: tuple[int, int] | None = None
    deploy: bool = False
    blocks: bool = True
    overwrite: bool = False
    overrides: tuple[str, ...] = ()


def convert(request: Request) -> None:
    """Carries out a conversion.

    Raises:
        UsageError: the two files are not of kinds that become each other, or the target exists.
        RunError: a folder is no run.
        SpecError, WeightsError: the source cannot be used, or says something that the target's form cannot.
    """
    _check(request)
    if request.target.suffix in WEIGHTS:
        spec = _read(_net_of(request), request.overrides)
        account = convert_weights(request.source, request.target, nominal_graph(spec, size=request.size), spec.name)
        print(f"{request.target}: {account}")
        return
    if not request.source.is_dir() and is_solver(request.source):
        _write(request.target, _solver(request), "solver")
        return
    spec = _read(_spec_in(request.source), request.overrides)
    if request.target.suffix == ".yaml":
        _write(request.target, _yaml(spec, request.blocks), "net")
    else:
        phase: Phase = "DEPLOY" if request.deploy else "TRAIN"
        _write(request.target, prototxt_text(spec, nominal_graph(spec, phase, request.size)), "net")


def _check(request: Request) -> None:
    source, target = request.source, request.target
    if not source.exists():
        raise UsageError("there is no such file", place=str(source), hint=shipped_hint(source))
    known = (*NETS, *WEIGHTS)
    if target.suffix not in known:
        raise UsageError(f"a file to make ends in {', '.join(known)}", place=str(target))
    if target.suffix in WEIGHTS and (source.suffix in NETS or is_prototxt(source)):
        raise UsageError(f"{source} is a net and {target} would be weights")
    if target.suffix in NETS and source.suffix in (*WEIGHTS, ".h5", ".solverstate"):
        raise UsageError(f"{source} is weights and {target} would be a net")
    refuse_taken(target, overwrite=request.overwrite)


def _net_of(request: Request) -> Path:
    """The net that weights belong to."""
    if request.net is not None:
        return _spec_in(request.net)
    if request.source.is_dir():
        return _spec_in(request.source)
    hint = f"segspec convert {request.source} {request.target} --net NET"
    raise UsageError("the layers of weights are told apart by their net", hint=hint)


def _spec_in(path: Path) -> Path:
    """A file itself; of a run folder, its spec."""
    return open_run(path).spec if path.is_dir() else path


def _solver(request: Request) -> str:
    """The solver in the target's language; a solver in YAML names no net."""
    if request.overrides:
        raise UsageError("--set changes a net, and this is a solver", place=str(request.source))
    to_yaml = request.target.suffix == ".yaml"
    if not is_prototxt(request.source):
        solver = load_solver(request.source)
        return solver_text(solver, defaults=False) if to_yaml else solver_prototxt(solver)
    caffe = load_caffe_solver(request.source)
    warn(*caffe.warnings)
    if not to_yaml:
        return solver_prototxt(caffe.solver, caffe.train.path if caffe.train else "")
    if caffe.train is not None:
        hint = f"segspec train NET {request.target}"
        warn(Diagnostic("a solver in YAML does not name its net", caffe.train.span, hint, severity="warning"))
    return solver_text(caffe.solver, defaults=False)


def _read(path: Path, overrides: Sequence[str]) -> NetSpec:
    spec = load_net(path, overrides)
    warn(*spec.warnings)
    return spec


def _yaml(spec: NetSpec, blocks: bool) -> str:
    """The net as YAML that was read back and found the same."""
    wanted = entries_of(spec)
    for attempt in dict.fromkeys((blocks, False)):
        text = spec_text(spec, blocks=attempt)
        if entries_of(read_net(Source("converted.yaml", text), Path())) == wanted:
            return text
    message = "written as YAML it would not be the same net; this is a fault of segspec"
    raise SpecError(message, place=spec.source.name)


def _write(path: Path, text: str, what: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    print(f"{path}: {what}, {text.count(chr(10))} lines")
