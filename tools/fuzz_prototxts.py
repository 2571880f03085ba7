"""Throws mutated prototxts at the reader: every one must be read, or refused with a place, in little time.

    python tools/fuzz_prototxts.py 100000 --seed 3 --folder CORPUS

Mutants are made of nets and solvers in every format of Caffe that stand below and, with `--folder`, of all prototxts
in a folder. Characters, words and lines are swapped, doubled, dropped and filled with what parsers stumble over. A
mutant is a failure when reading it raises anything but SpecError or UsageError, gives a message without a place, or
takes more than a second of CPU. Failures are printed with what made them; exit status 1.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from segspec.errors import SegspecError, Source, SpecError, UsageError
from segspec.graph.build import build
from segspec.graph.inputs import declared_size, net_inputs
from segspec.spec.caffe.net import net_of_tree
from segspec.spec.caffe.solver import read_caffe_solver
from segspec.spec.netspec import Phase
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Mapping, read_source

SECONDS = 1.0
PHASES: tuple[Phase, ...] = ("TRAIN", "TEST", "DEPLOY")
LARGEST = 40_000
"""Bytes of a file beyond which only a part of it is mutated."""

NETS = (
    """name: "today"
layer { name: "d" type: "DenseImageData" top: "data" top: "label" include { phase: TRAIN stage: "x" }
  dense_image_data_param { source: "t.txt" batch_size: 4 new_height: 40 new_width: 48 }
  transform_param { crop_size: 32 } }
layer { name: "d" type: "Data" top: "data" top: "label" exclude { phase: 0 } data_param { source: "l" backend: LMDB } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" lr_mult: 1 } param { decay_mult: 0. }
  convolution_param { num_output: 4 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2 weight_filler { type: 'msra' } } }
layer { name: "n" type: "BN" bottom: "c" top: "c" bn_param { scale_filler { value: 1 } bn_mode: LEARN } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" top: "m" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" upsample_param { upsample_h: 32 upsample_w: 32 } }
layer { name: "s" type: "Slice" bottom: "u" top: "a" top: "b" slice_param { axis: 1 slice_point: 2 } }
layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "a" eltwise_param { operation: SUM coeff: [1, -1.] } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "a" bottom: "label" loss_weight: 0.5
  loss_param { ignore_label: 255 weight_by_label_freqs: true class_weighting: 1 class_weighting: 0.5 } }
layer { name: "y" type: "Python" top: "y" python_param { module: "m" layer: "L" param_str: "{'batch_size': 2}" } }
""",
    """input: "data" input_dim: 1 input_dim: 3 input_dim: ${SIZE} input_dim: 40 force_backward: true
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 param: "w"
  convolution_param { num_output: 4 kernel_size: 3 hole: 2 group: 1 } }
layers { name: "r" type: 18 bottom: "c" top: "c" }
layers { name: "u" type: DECONVOLUTION bottom: "c" top: "u"
  convolution_param { num_output: 2 kernel_size: 4 stride: 2 } }
layers { bottom: 'u' bottom: 'data' top: 'x' name: 'x' type: CROP }
layers { name: "z" type: SOFTMAX bottom: "x" top: "prob" }
""",
    """layers { layer { name: "d" type: "data" source: "x" batchsize: 3 cropsize: 20 } top: "data" top: "label" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 blobs_lr: 1. } bottom: "data" top: "c" }
layers { layer { name: "i" type: "innerproduct" num_output: 5 biasterm: false } bottom: "c" top: "i" }
layers { layer { name: "l" type: "softmax_loss" } bottom: "i" bottom: "label" }
""",
)
SOLVERS = (
    """net: "${EXP}/n.prototxt" base_lr: 0.01 lr_policy: "multistep" gamma: 0.1 stepvalue: 5 stepvalue: 9 max_iter: 10
momentum: 0.9 weight_decay: 5e-4 iter_size: 2 test_iter: 3 test_iter: 4 test_state { stage: "a" } test_state {}
solver_type: NESTEROV solver_mode: GPU random_seed: -1 snapshot_format: HDF5 device_id: 0 clip_gradients: 35
""",
    """net_param { layer { name: "r" type: "ReLU" bottom: "data" top: "r" } } train_state { level: 1 } type: "Adam"
base_lr: 1 lr_policy: "poly" power: 2. rampup_interval: 3 rampup_lr: 0.1 min_lr: 1e-5 max_iter: 7 display: 0
""",
)
WORDS = (
    *("", " ", "{", "}", "[", "]", "<", ">", ":", ",", ";", "#", "'", '"', "\\", "${X}", "${", "\n", "\t", "\r\n"),
    *("0", "-1", "1e9", "1e999", "nan", "-inf", "007", "0x10", ".5f", "2.", "99999999999", "1" * 500, "3.5", "1 2"),
    *("true", "False", "MAX", "TRAIN", "Data", "Python", "Convolution", "Pooling", "Concat", "Crop", "Reshape"),
    *("layer", "layers", "input", "input_shape { dim: 0 }", "bottom: 'data'", "top: 'c'", "param { name: 'w' }"),
    *("phase: TEST", "include { stage: 'x' }", "type: 4", "kernel_size: 0", "num_output: 1000000000", "axis: -9"),
    *("LSTM", "dim: -1", "\x00", "é", "🙂"),
)
_PARTS = re.compile(r"[\w.$]+|[^\w\s]")


def mutant(text: str, generator: random.Random) -> str:
    """The text with one to four changes."""
    for _ in range(generator.randint(1, 4)):
        text = generator.choice((_replace, _replace, _insert, _drop, _copy))(text, generator)
    return text


def _part(text: str, generator: random.Random) -> tuple[int, int]:
    """Where some word or mark stands."""
    start = generator.randint(0, len(text))
    found = _PARTS.search(text, start) or _PARTS.search(text)
    return found.span() if found else (0, 0)


def _replace(text: str, generator: random.Random) -> str:
    """A word or mark becomes another one of the text, or something odd."""
    start, end = _part(text, generator)
    other = slice(*_part(text, generator))
    return text[:start] + (text[other] if generator.random() < 0.5 else generator.choice(WORDS)) + text[end:]


def _insert(text: str, generator: random.Random) -> str:
    place = generator.randint(0, len(text))
    return text[:place] + generator.choice(WORDS) + text[place:]


def _drop(text: str, generator: random.Random) -> str:
    start = generator.randint(0, len(text))
    return text[:start] + text[start + generator.choice((1, 1, 5, 60)) :]


def _copy(text: str, generator: random.Random) -> str:
    """A stretch is copied to another place."""
    start = generator.randint(0, len(text))
    place = generator.randint(0, len(text))
    return text[:place] + text[start : start + generator.randint(1, 200)] + text[place:]


def attempt(text: str, changes: Sequence[str] = ()) -> str:
    """Reads a text as the commands would, and says what became of it: `read`, `refused`, or a complaint."""
    start = time.process_time()
    outcomes = _outcomes(Source("x.prototxt", text), changes)
    complaints = outcomes - {"read", "refused"}
    taken = time.process_time() - start
    if complaints:
        return complaints.pop()
    if taken > SECONDS * (1 + len(PHASES)):
        return f"took {taken:.1f} seconds"
    return "read" if "read" in outcomes else "refused"


def _outcomes(source: Source, changes: Sequence[str]) -> set[str]:
    """What becomes of a text as a solver, and as a net in each phase. A mistake of syntax is one for all of them."""
    trees: list[Mapping] = []
    syntax = _outcome(lambda: trees.append(parse_prototxt(source)))
    if not trees:
        return {syntax}
    nets = {_outcome(partial(_build, trees[0], source, changes, phase)) for phase in PHASES}
    return {_outcome(lambda: read_caffe_solver(source, changes)), *nets}


def _outcome(read: Callable[[], object]) -> str:
    """What becomes of one way to read a text."""
    try:
        read()
    except (SpecError, UsageError) as error:
        return _judged(error)
    except Exception:
        return traceback.format_exc()
    return "read"


def _build(tree: Mapping, source: Source, changes: Sequence[str], phase: Phase) -> None:
    net = net_of_tree(tree, source, changes, phase, stages=("x",))
    build(net, phase, net_inputs(net, declared_size(net) or (45, 60), labels=phase != "DEPLOY"))


def _judged(error: SegspecError) -> str:
    placed = all(found.span or found.place or "takes KEY=VALUE" in found.message for found in error.diagnostics)
    str(error).encode()
    return "refused" if placed and error.diagnostics else f"no place: {error}"


def overrides(text: str, generator: random.Random) -> list[str]:
    """What fills the templates; now and then another `--set`."""
    filled = [f"{name}=40" for name in dict.fromkeys(re.findall(r"\$\{(\w+)\}", text))]
    if generator.random() < 0.8:
        return filled
    keys = ("c.convolution_param.num_output", "base_lr", "d", "x.y", "")
    return [*filled, generator.choice(keys) + generator.choice(("=", "=", "=", "")) + generator.choice(WORDS)]


def texts_in(folder: Path | None) -> list[str]:
    """What is mutated."""
    found = [*NETS, *SOLVERS]
    for path in sorted(folder.rglob("*.prototxt*")) if folder else ():
        found.append(read_source(path).text[:LARGEST])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the given number of mutants; prints failures and a summary."""
    parser = argparse.ArgumentParser(description="Throw mutated prototxts at the reader.")
    parser.add_argument("count", type=int, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other mutants")
    parser.add_argument("--folder", type=Path, help="also mutate the prototxts in this folder")
    options = parser.parse_args(arguments)
    texts = texts_in(options.folder)
    outcomes: Counter[str] = Counter()
    for index in range(options.count):
        generator = random.Random(f"{options.seed}:{index}")
        changed = mutant(generator.choice(texts), generator)
        changes = overrides(changed, generator)
        outcome = attempt(changed, changes)
        outcomes[outcome if outcome in ("read", "refused") else "failed"] += 1
        if outcome not in ("read", "refused"):
            print(f"mutant {index} of seed {options.seed}, --set {changes}\n{outcome}\n{changed!r}\n", flush=True)
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
