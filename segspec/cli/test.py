"""`segspec test`: images segmented, and scored where there are labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_set, add_verb, add_weights_map, count, count_or_none, refuse_map_alone
from segspec.cli.precision import prepare_as
from segspec.tuning import tune_process


def add(verbs: Verbs) -> None:
    """Adds the verb `test`."""
    example = (
        "  segspec test runs/segnet_camvid photos/\n"
        "  segspec test runs/segnet_camvid data/camvid/val.txt\n"
        "  segspec test specs/segnet_camvid.yaml --weights w.safetensors photos/a.jpg\n"
        "  segspec test --ensemble runs/first runs/second photos/ --tta flip,0.75,1.25"
    )
    parser = add_verb(verbs, "test", "segment images: masks, overlays, sheets and, with labels, tables", example, run)
    parser.add_argument("model", type=Path, help="run folder, or a spec together with --weights")
    parser.add_argument("images", nargs="*", help="images, folders, or list files (default: the run's own test images)")
    parser.add_argument("--weights", type=Path, metavar="FILE_OR_RUN", help="weights for a spec")
    add_weights_map(parser)
    help = "average the probabilities of several nets: of MODEL and of every run folder among the images"
    parser.add_argument("--ensemble", action="store_true", help=help)
    help = "show each image in more ways and average: mirrored (flip), at other scales, or both, as flip,0.75,1.25"
    parser.add_argument("--tta", metavar="flip,SCALE,...", help=help)
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help="label images of the same names")
    help = (
        "class table of a net that declares none, as in a prototxt: one shipped, such as camvid, a file, or [NAME, ...]"
    )
    parser.add_argument("--classes", metavar="NAME_OR_FILE", help=help)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where results go (default RUN/test; for a spec or an ensemble: test here)",
    )
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
        type=count,
        default=1,
        metavar="N",
        help="ask a Bayesian net, random at test, N times: mean prediction and uncertainty (default 1)",
    )
    parser.add_argument(
        "--sheets", type=count_or_none, default=20, metavar="N", help="how many sheets to draw (default 20)"
    )
    add_set(parser)


def run(options: argparse.Namespace) -> None:
    """Runs it with what the command line says."""
    refuse_map_alone(options)
    tune_process()
    from segspec.evaluate.test import Request, test
    from segspec.run.folder import is_run

    others = [Path(path) for path in options.images] if options.ensemble else []
    prepare_as([options.model, *filter(is_run, others)])
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
            ensemble=options.ensemble,
            tta=options.tta,
        )
    )
