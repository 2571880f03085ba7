"""`segspec compute-bn-stats`: what batch normalisation infers with."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_set, add_verb, add_weights_map, count, refuse_map_alone
from segspec.cli.precision import prepare_as
from segspec.tuning import tune_process


def add(verbs: Verbs) -> None:
    """Adds the verb `compute-bn-stats`."""
    example = (
        "  segspec compute-bn-stats runs/segnet_camvid --mode exact\n"
        "  segspec compute-bn-stats train.prototxt --weights iter_10000.caffemodel --out test_weights.caffemodel"
    )
    help = "measure what batch normalisation infers with, over the training images"
    parser = add_verb(verbs, "compute-bn-stats", help, example, run)
    parser.add_argument("model", type=Path, help="run folder, or a spec together with --weights")
    parser.add_argument("--weights", type=Path, metavar="FILE_OR_RUN", help="weights for a spec")
    add_weights_map(parser)
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
    parser.add_argument("--batch-size", type=count, metavar="N", help="images in one batch (default: as in training)")
    parser.add_argument("--snapshot", default="best", metavar="best|last|N", help="which snapshot of the run")
    add_set(parser)


def run(options: argparse.Namespace) -> None:
    """Runs it with what the command line says."""
    refuse_map_alone(options)
    tune_process()
    from segspec.evaluate.compute_statistics import Request, compute_statistics

    prepare_as([options.model])
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
