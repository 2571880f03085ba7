"""`segspec compute-bn-stats`: runs the training images through a trained net and writes what it infers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import jax
import numpy as np
import numpy.typing as npt

from segspec.atomic import refuse_taken
from segspec.data.sample import ImageSource
from segspec.data.sources import open_images, open_source, settle, tell_start
from segspec.errors import Diagnostic, SpecError
from segspec.evaluate.images import collect
from segspec.evaluate.inference_files import (
    folded_path,
    weights_path,
    write_folded,
    write_inference_weights,
)
from segspec.evaluate.load import COMPUTED, Loaded, load
from segspec.evaluate.model import Model, deploy_graph
from segspec.evaluate.progress import image_bar
from segspec.evaluate.statistics import Collector, Mode, batches_needed
from segspec.layers.data import DenseImageData
from segspec.layers.normalization import BN
from segspec.messages import say, warn
from segspec.weights.files import Blobs, write_weights

Images = npt.NDArray[np.uint8]
MUCH = 0.5
"""Share of the variance between batches from which a net is warned of."""


@dataclass(frozen=True)
class Request:
    """What the command line asks of a measurement.

    Attributes:
        model: a run folder, or a spec together with weights.
        mode: `exact` or `tutorial`, see `Collector`.
        weights: weights for a spec.
        weights_map: which layers of the weights the net's layers take; None: those of the same names.
        overrides: changes to the spec.
        images: a list or folder of images to use instead of the training images; labels are not needed.
        batch_size: images in a batch; None: as in training.
        merge: whether to write a net with the statistics merged into its convolutions as well.
        snapshot: which snapshot of a run: `best`, `last` or an iteration.
        out: the file of weights to infer with, or a folder for it; None: for a run, statistics beside its snapshots.
        overwrite: whether that file may exist.
    """

    model: Path
    mode: Mode = "exact"
    weights: Path | None = None
    weights_map: str | None = None
    overrides: tuple[str, ...] = ()
    images: Path | None = None
    batch_size: int | None = None
    merge: bool = False
    snapshot: str = "best"
    out: Path | None = None
    overwrite: bool = False


def compute_statistics(request: Request) -> Path:
    """Measures the statistics of a net over its training images, and writes what it infers with.

    Of a run these are statistics beside its snapshots, which stay as they are; of a spec with weights, or where a file
    is named, weights that hold them.

    Returns:
        The file that was written: of a net whose statistics are folded in already, the net that they are merged into.
    """
    loaded = load(request.model, request.weights, request.snapshot, request.overrides, request.weights_map)
    warn(*loaded.warnings)
    model = loaded.model
    path, folded = _targets(loaded, request)
    if request.merge and _infers_already(model):
        print(write_folded(folded, model, {}))
        return folded
    source = _source(model, request.images)
    data = model.spec.data.get("train")
    batch = request.batch_size or (data.batch_size if data else 1)
    found, used = measure(model, source, request.mode, batch)
    _write(path, loaded, request, found, {"images": str(used), "batch_size": str(batch)})
    if request.merge:
        print(write_folded(folded, model, found))
    return path


def _targets(loaded: Loaded, request: Request) -> tuple[Path, Path]:
    """The files of the statistics and of the net that they are merged into."""
    if loaded.folder and request.out is None:
        return loaded.folder.statistics / COMPUTED, loaded.folder.statistics / "folded.yaml"
    path = weights_path(loaded.model, request.out)
    folded = folded_path(path)
    written = [*([] if request.merge and _infers_already(loaded.model) else [path]), *[folded] * request.merge]
    for file in written:
        read = request.weights or request.model
        refuse_taken(file, overwrite=request.overwrite, rename="another name with --out", read=read)
    return path, folded


def _infers_already(model: Model) -> bool:
    """Whether the net has BN in mode INFERENCE, and nothing to measure."""
    kept = any("mean" in blobs for blobs in model.state.values())
    return not kept and any(isinstance(layer.layer, BN) for layer in model.spec.layers)


def _write(path: Path, loaded: Loaded, request: Request, found: Blobs, about: dict[str, str]) -> None:
    """Writes the file and says what it is."""
    mode, used = request.mode, about["images"]
    told = f"{path}: {mode} statistics of {len(found)} layers over {used} images, for {loaded.weights}"
    if loaded.folder and request.out is None:
        write_weights(path, found, about={"iteration": str(loaded.iteration), "mode": mode, **about})
        print(told)
        remark = f"compare: segspec test {request.model} --statistics computed, and --statistics running"
    else:
        told_of = {"mode": mode, **about, "weights": loaded.weights}
        folded = write_inference_weights(path, loaded.model, found, told_of)
        print(told)
        remark = f"use: segspec test {request.model} --weights {path} IMAGES"
        if folded:
            remark = "folded into scale and shift: for the net whose BN say bn_mode: INFERENCE"
    say(remark)


def measure(model: Model, source: ImageSource, mode: Mode, batch_size: int) -> tuple[Blobs, int]:
    """The statistics of every normalised layer, and how many images they were measured on.

    Images of different sizes are measured in batches of equal size, in order.
    """
    collectors: dict[tuple[int, ...], Collector] = {}
    key = jax.random.key(0)
    sums: Collector | None = None
    used = 0
    with image_bar() as bar:
        batches = bar.track(_batches(source, batch_size, mode), batches_needed(len(source), batch_size, mode))
        for number, images in enumerate(batches):
            if images.shape not in collectors:
                graph = deploy_graph(model.spec, images.shape[0], (images.shape[1], images.shape[2]), images.shape[3])
                collectors[images.shape] = Collector(graph, model.data, mode, sums=sums, dtype=model.dtype)
                sums = collectors[images.shape]
            collectors[images.shape].add(model.params, model.state, images, jax.random.fold_in(key, number))
            used += images.shape[0]
    if sums is None or not sums.sums:
        inferring = _infers_already(model)
        hint = "its BN say bn_mode: INFERENCE; give the net for training" if inferring else "nothing is to be computed"
        raise SpecError("no layer of the net keeps statistics", place=model.spec.source.name, hint=hint)
    _warn_of_spread(sums)
    return {name: dict(blobs) for name, blobs in sums.result().items()}, used


def _warn_of_spread(sums: Collector) -> None:
    """Says where batches differ so much that no statistics of all of them fit each."""
    layer, share = sums.spread()
    if share > MUCH:
        message = f"{share:.0%} of the variance that '{layer}' normalises lies between the batches, not within them"
        hint = (
            "in training each batch had its own statistics; these can do much worse, and then "
            "'segspec test RUN --statistics batch' is what training saw; larger batches make the two agree"
        )
        warn(Diagnostic(message, hint=hint, severity="warning"))


def _batches(source: ImageSource, batch_size: int, mode: Mode) -> Iterator[Images]:
    """Images in order, without augmentation: each once, or, for `tutorial`, round and round for its count of batches.

    A batch ends early where the next image has another size.
    """
    tutorial = mode == "tutorial"
    indices = cycle(range(len(source))) if tutorial else iter(range(len(source)))
    batches = _stacked((source.load(index).image for index in indices), batch_size)
    return islice(batches, batches_needed(len(source), batch_size, mode)) if tutorial else batches


def _stacked(images: Iterable[Images], batch_size: int) -> Iterator[Images]:
    waiting: list[Images] = []
    for image in images:
        if waiting and (len(waiting) == batch_size or waiting[0].shape != image.shape):
            yield np.stack(waiting)
            waiting = []
        waiting.append(image)
    if waiting:
        yield np.stack(waiting)


def _source(model: Model, images: Path | None) -> ImageSource:
    """The training images as the net is tested on them: resized but not varied."""
    layer = model.spec.data.get("train")
    if images is not None:
        plain = DenseImageData(source=str(images), color=model.channels > 1)
        return open_images([entry.image for entry in collect([str(images)])], layer or model.data or plain)
    if layer is None:
        place = model.spec.source.name
        raise SpecError("the spec names no training images", place=place, hint="name some with --images")
    settled = settle(layer, Path())
    warn(*tell_start(layer, settled))
    return open_source(settled, None, Path())
