"""Throws mutated files of weights at the readers: every one must be read, or refused, in little time and memory.

    python tools/fuzz_weights.py 1000000 --seed 3 --kind caffemodel

Mutants are made of a small net as caffemodel and as safetensors, and of a solver's state: bytes are changed, dropped,
doubled and replaced by what such readers stumble over. A mutant is a failure when reading it, or putting it into the
net, raises anything but WeightsError, or takes more than a second of CPU. Failures are printed with what made them. The
exit status is 1 after a failure, or when all of it together took more than 100 MB of memory.
"""

from __future__ import annotations

import argparse
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from segspec.errors import Source, WeightsError
from segspec.graph.build import build, image_inputs
from segspec.net import init
from segspec.run.blobs import read_blobs
from segspec.spec.net import read_net
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import write_caffemodel
from segspec.weights.files import write_weights
from segspec.weights.fit import fit
from segspec.weights.solverstate import SolverState, name_history, number_history, read_solverstate, write_solverstate

KINDS = ("caffemodel", "solverstate", "safetensors")
SECONDS = 1.0
MEGABYTES = 100
NET = """segspec: 1
layers:
  - Convolution: {name: conv, num_output: 3, kernel_size: 3}
  - BatchNorm: {name: norm}
  - BN: {name: bn}
  - PReLU: {name: prelu, channel_shared: true}
  - Deconvolution: {name: up, num_output: 2, kernel_size: 2, stride: 2}
  - InnerProduct: {name: fc, num_output: 2}
"""
GRAPH = build(read_net(Source("net.yaml", NET), Path()), "DEPLOY", image_inputs(1, 6, 6, 2, labels=False))
TREES = init(GRAPH, 0)
ODD = (
    *(b"", b"\x00", b"\x7f", b"\x80", b"\xff", b"\x80\x00", b"\xff" * 10, b"\xff" * 9 + b"\x01", b"\x80" * 11),
    *(b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x10", b"\xff" * 8 + b"\x7f"),
    *(
        b"\x3a",
        b"\x2a",
        b"\x2d",
        b"\x41",
        b"\x42",
        b"\x0a",
        b"\x12",
        b"\x08",
        b"\xa2\x06",
        b"\x0b",
        b"\x0c",
        b"\x0f",
    ),  # tags
    *(b"\x3a\x02\x0a\x00", b"\x3a\x00", b"\x08\x00", b"\x08\x01\x10\x01\x18\x01\x20\x01", b"\x2a\x04\x00\x00\x80\x7f"),
    *(
        struct.pack("<f", float("nan")),
        struct.pack("<d", 1e300),
        struct.pack("<Q", 2**63),
        b"\xc3\x28",
        b"conv",
        b"norm",
    ),
    *(b'"shape":[', b"-1", b"1e400", b"4294967296", b"BF16", b"F8_E4M3", b'"data_offsets":[', b"{}", b"[[", b"null"),
)


def mutant(content: bytes, generator: random.Random) -> bytes:
    """The content with one to six changes."""
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        start = generator.randint(0, len(content))
        length = generator.choice((0, 1, 1, 2, 4, 30))
        stretch = content[start : start + length]
        match generator.randrange(5):
            case 0:
                content = content[:start] + generator.choice(ODD) + content[start + length :]
            case 1:
                content = content[:start] + generator.randbytes(len(stretch)) + content[start + length :]
            case 2:
                content = content[:start] + content[start + length :]
            case 3:
                place = generator.randint(0, len(content))
                content = content[:place] + stretch + content[place:]
            case _:
                content = (
                    content[:start]
                    + bytes(byte ^ 1 << generator.randrange(8) for byte in stretch)
                    + content[start + length :]
                )
    return content


def originals(folder: Path, kind: str) -> list[bytes]:
    """The files that mutants of a kind are made of."""
    path = folder / "original"
    if kind == "solverstate":
        write_solverstate(path, SolverState(3, number_history(GRAPH, [TREES[0]]), "net.caffemodel", 1))
        return [path.read_bytes()]
    if kind == "safetensors":
        write_weights(path, *TREES)
        return [path.read_bytes()]
    layers = list(number_blobs(GRAPH, *TREES))
    write_caffemodel(path, "net", layers)
    packed = path.read_bytes()
    return [packed, unpacked(packed)]


def unpacked(content: bytes) -> bytes:
    """A net of one layer in the old form: four sizes, and each number by itself."""
    numbers = b"".join(b"\x2d" + content[place : place + 4] for place in range(0, 40, 4))
    blob = b"\x08\x01\x10\x01\x18\x02\x20\x05" + numbers
    layer = b"\x22\x04conv\x28\x04" + b"\x32" + bytes([len(blob)]) + blob
    return b"\x12" + bytes([len(layer)]) + layer


def attempt(path: Path) -> str:
    """Reads a file as the command line would, and says what became of it: `read`, `refused`, or a complaint."""
    start = time.process_time()
    outcome = "read"
    try:
        if path.suffix == ".solverstate":
            name_history(GRAPH, read_solverstate(path).history, 1, str(path))
        else:
            fit(GRAPH, *TREES, read_blobs(path, GRAPH))
    except WeightsError as error:
        str(error).encode()
        outcome = "refused" if error.diagnostics else "no diagnostic"
    except Exception:
        return traceback.format_exc()
    taken = time.process_time() - start
    return outcome if taken < SECONDS else f"took {taken:.1f} seconds"


def run(kind: str, count: int, seed: int, report: Callable[[str], None] = print) -> Counter[str]:
    """Tries mutants of a kind; how many were `read`, `refused` and `failed`."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        contents = originals(Path(folder), kind)
        path = Path(folder) / f"mutant.{kind}"
        for index in range(count):
            generator = random.Random(f"{seed}:{index}")
            changed = mutant(generator.choice(contents), generator)
            path.unlink(missing_ok=True)  # an array of the one before may still be mapped
            path.write_bytes(changed)
            outcome = attempt(path)
            outcomes[outcome if outcome in ("read", "refused") else "failed"] += 1
            if outcome not in ("read", "refused"):
                report(f"mutant {index} of seed {seed}\n{outcome}\n{changed!r}\n")
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the given number of mutants of each kind; prints failures and a summary."""
    parser = argparse.ArgumentParser(description="Throw mutated files of weights at the readers.")
    parser.add_argument("count", type=int, help="number of mutants of each kind")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other mutants")
    parser.add_argument("--kind", choices=KINDS, help="only this kind")
    options = parser.parse_args(arguments)
    warnings.simplefilter("error")
    failed = False
    for kind in [options.kind] if options.kind else KINDS:
        run(kind, 100, options.seed - 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes = run(kind, options.count, options.seed)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        summary = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
        print(f"{kind}: {summary}; {grown:.0f} MB more memory")
        failed |= bool(outcomes["failed"]) or grown > MEGABYTES
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
