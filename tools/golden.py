"""Compares every layer with arrays that Caffe wrote: outputs, gradients and running statistics.

    python tools/golden.py tests/golden/layers tests/golden/layers_bvlc

Each case is a net of one layer, NAME.prototxt, with NAME.npz beside it: `bottom_i`, `param_j`, `top_i`, the gradient
`top_i_diff` that went into the top, and what came out of it, `bottom_i_diff` and `param_j_diff`; for blobs that the
forward pass changes, `param_j_after_forward`. A case runs through the same reading, building and applying as any net.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from golden_parts import Figure, blob_to_caffe, blob_to_stored, relative_error
from golden_precision import Trial, compare

from segspec.errors import SpecError
from segspec.graph.build import build
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Blob
from segspec.layers.dropout import Dropout
from segspec.layers.loss import InfogainLoss
from segspec.net import Tree, apply
from segspec.ops.argmax_pool import to_flat
from segspec.spec.caffe.layer import STATE_BLOBS, Dialect
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.netspec import NetSpec, Phase
from segspec.spec.solver import Precision
from segspec.syntax.tree import read_source
from segspec.weights.layout import (
    running_from_caffe,
    running_to_caffe,
    to_caffe,
    to_stored,
)

Golden = Mapping[str, np.ndarray]
TOLERANCE = 1e-5
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Each case runs once on a few numbers, so compiling takes nearly all of the time."""

TRAINED = ("dropout_train", "batchnorm_train", "batchnorm_train_global")
KNOWN = {
    "layers/softmaxloss_all_ignored": "caffe-segnet divides 0 by 0 there; segspec gives 0, as BVLC does",
}
"""Cases whose difference is wanted, with the reason."""


@dataclass(frozen=True)
class Verdict:
    """What became of one case.

    Attributes:
        name: of the case.
        outcome: `ok`, `FAIL`, `known` (differs on purpose) or `unsupported`.
        error: the greatest relative error of all arrays.
        remark: which array that was, or why there is no figure.
    """

    name: str
    outcome: str
    error: float = 0.0
    remark: str = ""

    def __str__(self) -> str:
        figure = "" if self.outcome == "unsupported" else f"{self.error:8.1e}"
        return f"{self.outcome:<11} {self.name:<40} {figure:>8}  {self.remark}".rstrip()


def run_folder(
    folder: Path, dialect: Dialect | None = None, tolerance: float = TOLERANCE, precision: Precision = "float32"
) -> Iterator[Verdict]:
    """Runs every case of a folder, in order of name.

    Args:
        folder: holds pairs of NAME.prototxt and NAME.npz.
        dialect: whose rules hold; by default BVLC's where the folder's name says so, else caffe-segnet's.
        tolerance: greatest relative error that is well in float32.
        precision: to compute at.
    """
    chosen: Dialect = dialect or ("bvlc" if "bvlc" in folder.name else "segnet")
    for path in sorted(folder.glob("*.prototxt")):
        yield run_case(path, chosen, tolerance, precision)


def run_case(path: Path, dialect: Dialect, tolerance: float = TOLERANCE, precision: Precision = "float32") -> Verdict:
    """Runs one case and compares everything that Caffe wrote for it."""
    name = f"{path.parent.name}/{path.stem}"
    phase: Phase = "TRAIN" if path.stem in TRAINED else "TEST"
    with np.load(path.with_suffix(".npz")) as file:
        golden = dict(file)
    try:
        spec = _with_matrix(read_caffe_net(read_source(path), phase=phase, dialect=dialect), golden)
        graph = build(spec, phase, _inputs(spec, golden))
    except SpecError as error:
        unknown = re.search(r"(unknown|unsupported) layer type '[^']+'", str(error))
        return Verdict(name, "unsupported" if unknown else "FAIL", np.inf, unknown[0] if unknown else str(error))
    masked = isinstance(graph.layers[0].layer, Dropout) and "mask" in golden
    remark = "only where both masks keep: the random numbers are not Caffe's" if masked else ""
    if path.stem.endswith("_backward_twice") and graph.layers[0].layer.type != "BN":
        golden = {key: value / 2 if re.fullmatch(r"param_\d+_diff", key) else value for key, value in golden.items()}
        remark = "half of what two backward passes summed up"

    def run(trial: Trial) -> Iterator[Figure]:
        ours = _run(spec, graph, golden, trial)
        theirs = _same_mask(ours, golden) if masked else golden
        for key, value in ours.items():
            if key in theirs:
                yield Figure(key, relative_error(value, theirs[key], trial.measure), tolerance)

    return _judge(name, compare(run, precision), remark)


def _judge(name: str, figures: Sequence[Figure], remark: str) -> Verdict:
    worst = max(figures, key=lambda figure: figure.share)
    if worst.ok:
        return Verdict(name, "ok", worst.error, remark)
    if name in KNOWN:
        return Verdict(name, "known", worst.error, KNOWN[name])
    return Verdict(
        name, "FAIL", worst.error, f"{worst.what}; tolerance {worst.limit:.0e}" + (f"; {remark}" if remark else "")
    )


def _inputs(spec: NetSpec, golden: Golden) -> dict[str, Blob]:
    """The blobs of the declared inputs; whole numbers behind the first that Caffe gives no gradient are labels."""
    blobs = {}
    for index, (name, shape) in enumerate(spec.declared.items()):
        stored = blob_to_stored(np.empty(shape)).shape
        values = golden[f"bottom_{index}"]
        label = index > 0 and f"bottom_{index}_diff" not in golden and np.array_equal(values, np.round(values))
        blobs[name] = Blob(stored, "int32" if label else "float32")
    return blobs


def _with_matrix(spec: NetSpec, golden: Golden) -> NetSpec:
    """The net with the matrix of an InfogainLoss, which Caffe reads from a file, put into the layer."""
    if "H" not in golden:
        return spec
    size = golden["H"].shape[-1]
    matrix = tuple(tuple(map(float, row)) for row in golden["H"].reshape(size, size))
    layers = [replace(layer, layer=_given(layer.layer, matrix)) for layer in spec.layers]
    return spec.with_layers(tuple(layers))


def _given(layer: object, matrix: tuple[tuple[float, ...], ...]) -> InfogainLoss:
    assert isinstance(layer, InfogainLoss)
    return layer.model_copy(update={"matrix": matrix})


def _run(spec: NetSpec, graph: Graph, golden: Golden, trial: Trial) -> dict[str, np.ndarray]:
    """Everything of a case, computed here, under the names and in the shapes of Caffe."""
    (layer,) = graph.layers
    inputs = {
        name: jnp.asarray(blob_to_stored(golden[f"bottom_{index}"]), graph.inputs[name].dtype)
        for index, name in enumerate(spec.declared)
    }
    real = {name: trial.given(value) for name, value in inputs.items() if value.dtype == jnp.float32}
    params, state = _trees(layer, golden)
    cotangents = _cotangents(layer, golden)
    halves = {name: value.astype(jnp.bfloat16) for name, value in real.items()}
    tried = trial.prepare(graph, params, state, {**inputs, **halves})

    def forward(
        params: Tree, real: Mapping[str, jax.Array]
    ) -> tuple[dict[int, jax.Array], tuple[list[jax.Array], Tree]]:
        key, train = jax.random.key(0), graph.phase == "TRAIN"
        outputs = apply(
            tried, params, state, {**inputs, **real}, train=train, key=key, dtype=trial.dtype, want=layer.tops
        )
        tops = [outputs.blobs[top] for top in layer.tops]
        return {index: tops[index].astype(jnp.float32) for index in cotangents}, (tops, outputs.state)

    @partial(jax.jit, compiler_options=QUICK)
    def run(
        params: Tree, real: Mapping[str, jax.Array]
    ) -> tuple[list[jax.Array], Tree, tuple[Tree, dict[str, jax.Array]]]:
        _, pull, (tops, after) = jax.vjp(forward, params, real, has_aux=True)
        return tops, after, pull(cotangents)

    tops, after, pulled = run(params, real)
    found = {f"top_{index}": _plain_top(layer, index, top) for index, top in enumerate(tops)}
    return {**found, **_changed(layer, after), **_gradients(layer, list(spec.declared), pulled)}


def _plain_top(layer: GraphLayer, index: int, top: jax.Array) -> np.ndarray:
    """A top in Caffe's shape; the mask of a pooling as flat indices."""
    window = layer.outputs[index].window
    return blob_to_caffe(np.asarray(top if window is None else to_flat(top, window)))


def _trees(layer: GraphLayer, golden: Golden) -> tuple[Tree, Tree]:
    """Parameters and state with Caffe's values."""
    count = sum(re.fullmatch(r"param_\d+", key) is not None for key in golden)
    blobs = [golden[f"param_{index}"] for index in range(count)]
    kept = STATE_BLOBS.get(layer.layer.type, 0)
    fresh = {name: np.full(spec.shape, spec.value, np.float32) for name, spec in layer.state.items()}
    running = running_from_caffe(*blobs[:kept]) if kept else fresh
    own = zip(layer.params.items(), blobs[kept:], strict=True)
    stored = {blob: to_stored(spec, value, layer.name, blob) for (blob, spec), value in own}
    return _tree(layer, stored), _tree(layer, running)


def _tree(layer: GraphLayer, blobs: Mapping[str, np.ndarray]) -> Tree:
    return {layer.name: {name: jnp.asarray(value) for name, value in blobs.items()}} if blobs else {}


def _cotangents(layer: GraphLayer, golden: Golden) -> dict[int, jax.Array]:
    """What goes into the tops that have a gradient, by number; none where Caffe wrote none."""
    shapes = {index: blob.shape for index, blob in enumerate(layer.outputs) if blob.dtype == "float32"}
    diffs = {index: golden.get(f"top_{index}_diff") for index in shapes}
    return {
        index: jnp.asarray(blob_to_stored(diff).reshape(shapes[index]), jnp.float32)
        for index, diff in diffs.items()
        if diff is not None
    }


def _gradients(
    layer: GraphLayer, names: Sequence[str], pulled: tuple[Tree, Mapping[str, jax.Array]]
) -> dict[str, np.ndarray]:
    params, bottoms = pulled
    found = {f"bottom_{names.index(name)}_diff": blob_to_caffe(np.asarray(value)) for name, value in bottoms.items()}
    kept = STATE_BLOBS.get(layer.layer.type, 0)
    for index, (blob, spec) in enumerate(layer.params.items(), kept):
        found[f"param_{index}_diff"] = to_caffe(spec, np.asarray(params[layer.name][blob]))
    return found


def _changed(layer: GraphLayer, after: Tree) -> dict[str, np.ndarray]:
    """Caffe's blobs of a BatchNorm after the forward pass."""
    if layer.layer.type not in STATE_BLOBS:
        return {}
    blobs = running_to_caffe({name: np.asarray(value) for name, value in after[layer.name].items()})
    return {f"param_{index}_after_forward": blob for index, blob in enumerate(blobs)}


def _same_mask(ours: dict[str, np.ndarray], golden: Golden) -> Golden:
    """Caffe's arrays where both masks keep an element, ours elsewhere, if ours drops a plausible share of them.

    The masks are random, so values are compared where both keep, and where ours drops they must be 0.
    """
    theirs = golden["mask"].astype(bool)
    kept = ours["top_0"] != 0
    share, expected = kept.mean(), theirs.mean()
    deviations = abs(share - expected) / np.sqrt(2 * expected * (1 - expected) / kept.size)
    if deviations > 4 or not np.array_equal(kept, ours["bottom_0_diff"] != 0):
        return {key: np.full_like(value, np.nan) for key, value in golden.items() if value.dtype == np.float32}
    both = kept & theirs
    return {**golden, **{key: np.where(both, golden[key], ours[key]) for key in ("top_0", "bottom_0_diff")}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the folders named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="pairs of NAME.prototxt and NAME.npz")
    parser.add_argument(
        "--dialect", choices=("segnet", "bvlc"), help="whose rules hold (default: as the folder's name)"
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="to compute at, with limits to match, see golden_precision.py (default: float32, the strictest)",
    )
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="greatest relative error (default 1e-5)")
    parser.add_argument("--allow-unsupported", action="store_true", help="let layer types pass that segspec lacks")
    options = parser.parse_args(arguments)
    verdicts = []
    for folder in options.folders:
        for verdict in run_folder(folder, options.dialect, options.tolerance, options.precision):
            print(verdict, flush=True)
            verdicts.append(verdict)
    counts = {
        word: sum(verdict.outcome == word for verdict in verdicts) for word in ("ok", "known", "FAIL", "unsupported")
    }
    print(f"{len(verdicts)} cases: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
    short = counts["FAIL"] + (0 if options.allow_unsupported else counts["unsupported"])
    return 1 if short or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
