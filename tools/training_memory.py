"""The memory of trainings as `segspec check` foretells it, as XLA says of the compiled step, and as a process takes it.

python tools/training_memory.py specs/segnet_camvid.yaml specs/unet.yaml --batch 1 4 --precision float32 bfloat16
Each line is measured in a process of its own, which makes two iterations on random images; its peak is the largest
resident size of the process, Python, XLA and its compiler included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path

MEGA = 10**6


def measure(path: Path, images: int, fields: dict[str, str], *, run: bool) -> dict[str, float]:
    """Figures in megabytes: foretold, compiled, and with `run` the peak of this process.

    Args:
        path: the network spec.
        images: in a batch.
        fields: of the solver.
        run: whether two iterations are made.
    """
    from segspec.tuning import tune_process

    tune_process()
    import jax
    import jax.numpy as jnp

    from segspec.graph.build import build
    from segspec.graph.inputs import net_inputs
    from segspec.graph.memory import Setting, predict_memory
    from segspec.graph.nominal import nominal_graph
    from segspec.net import init
    from segspec.spec.net import load_net
    from segspec.spec.solver import Solver
    from segspec.train.optimizer import make_optimizer
    from segspec.train.runtime import prepare
    from segspec.train.session import with_class_weights
    from segspec.train.step import MicroBatches, make_step, start

    spec = load_net(path)
    if spec.classes is not None:
        count = spec.classes.count
        spec = with_class_weights(spec, lambda rule: (1.0,) * count)
    solver = Solver.model_validate({"base_lr": 0.01, "max_iter": 2, "momentum": 0.9, **fields})
    prepare(solver)
    height, width = nominal_graph(spec).inputs["data"].shape[1:3]
    graph = build(spec, "TRAIN", net_inputs(spec, (height, width), images))
    optimizer = make_optimizer(solver, graph.multipliers)
    step = make_step(graph, spec.data["train"], optimizer, seed=0, dtype=solver.dtype, remat=solver.remat)
    state = start(*init(graph, 0), optimizer)
    batches = MicroBatches(
        jnp.zeros((1, *graph.inputs["data"].shape), jnp.uint8), jnp.zeros((1, *graph.inputs["label"].shape), jnp.int32)
    )
    compiled = step.lower(state, batches, jnp.int32(0)).compile()
    analysis = compiled.memory_analysis()
    if run:
        for iteration in range(2):
            state, _ = compiled(state, batches, jnp.int32(iteration))
        jax.block_until_ready(state)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if run else 0
    known = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes
    foretold = predict_memory(graph, Setting.of(solver, images)).total
    return {"foretold": foretold / MEGA, "compiled": known / MEGA, "peak": peak / MEGA}


def main() -> None:
    """Prints a line for each spec, batch, precision and remat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--remat", nargs="+", default=["light"])
    parser.add_argument("--run", action="store_true", help="make two iterations and tell the peak of the process")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        fields = {"precision": options.precision[0], "remat": options.remat[0]}
        print(json.dumps(measure(options.specs[0], options.batch[0], fields, run=options.run)))
        return
    print(f"{'spec':32} batch precision remat   foretold  compiled  ratio      peak  (MB)")
    for spec, batch, precision, remat in itertools.product(
        options.specs, options.batch, options.precision, options.remat
    ):
        command = [sys.executable, __file__, str(spec), "--batch", str(batch), "--precision", precision]
        command += ["--remat", remat, "--one", *["--run"] * options.run]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{spec.stem:32} {batch:5} {precision:9} {remat:6} failed with status {done.returncode}", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        ratio = found["foretold"] / found["compiled"]
        figures = f"{found['foretold']:9.0f} {found['compiled']:9.0f} {ratio:6.2f} {found['peak']:9.0f}"
        print(f"{spec.stem:32} {batch:5} {precision:9} {remat:6} {figures}", flush=True)


if __name__ == "__main__":
    main()
