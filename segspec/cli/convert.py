"""`segspec convert`: between Caffe's files and segspec's."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_set, add_verb, image_size


def add(verbs: Verbs) -> None:
    """Adds the verb `convert`."""
    example = (
        "  segspec convert train_val.prototxt net.yaml\n"
        "  segspec convert specs/unet.yaml deploy.prototxt --deploy --size 256x256\n"
        "  segspec convert vgg.caffemodel vgg.safetensors --net deploy.prototxt\n"
        "  segspec convert runs/unet unet.caffemodel\n"
        "  segspec convert runs/unet unet.solverstate"
    )
    help = "turn nets, solvers and weights of Caffe into segspec's, and back"
    parser = add_verb(verbs, "convert", help, example, run)
    parser.add_argument("source", type=Path, help="net, solver, weights, or run folder")
    parser.add_argument(
        "target", type=Path, help="file to make: .yaml, .prototxt, .safetensors, .caffemodel; of a run .solverstate"
    )
    parser.add_argument("--net", type=Path, metavar="SPEC_OR_RUN", help="the net that weights belong to")
    parser.add_argument("--size", metavar="HxW", help="height and width for the sizes that Caffe wants as numbers")
    parser.add_argument("--deploy", action="store_true", help="a prototxt for inference, without data and losses")
    parser.add_argument("--flat", action="store_true", help="YAML without blocks")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    add_set(parser)


def run(options: argparse.Namespace) -> None:
    """Runs it with what the command line says."""
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
            size=image_size(options.size),
            deploy=options.deploy,
            blocks=not options.flat,
            overwrite=options.overwrite,
            overrides=tuple(options.overrides),
        )
    )
