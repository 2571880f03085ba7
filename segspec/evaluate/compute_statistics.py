"""`segspec compute-bn-stats`: runs the training images through a trained net and writes what it infers with."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import jax
import numpy as np
import numpy.typing as npt

from segspec.atomic import write_atomically
from segspec.data.sources import ImageSource, open_images, open_source
from segspec.errors import Diagnostic, RunError, SpecError
from segspec.evaluate.fold import fold
from segspec.evaluate.images import collect
from segspec.evaluate.load import COMPUTED, Loaded, load_run
from segspec.evaluate.model import Model, deploy_graph
from segspec.evaluate.progress import image_bar
from segspec.evaluate.statistics import Collector, Mode, batches_needed, normalised_layers
from segspec.graph.nominal import nominal_graph
from segspec.spec.flatten import flat_text
from segspec.weights.files import Blobs, write_weights

Images = npt.NDArray[np.uint8]
MUCH = 0.5
"""Share of the variance between batches from which a net is warned of."""


def compute_statistics(
    run: Path,
    mode: Mode,
    *,
    images: Path | None = None,
    batch_size: int | None = None,
    merge: bool = False,
    snapshot: str = "best",
) -> Path:
    """Measures the statistics of a run's net and writes them beside its snapshots, which stay as they are.

    Args:
        run: the run folder.
        mode: `exact` or `tutorial`, see `Collector`.
        images: a list or folder of images to use instead of the run's training images; labels are not needed.
        batch_size: images in a batch; None: as in training.
        merge: whether to write a net with the statistics merged into its convolutions as well.
        snapshot: which snapshot's weights: `best`, `last` or an iteration.

    Returns:
        The file of statistics.
    """
    loaded = load_run(run, snapshot)
    assert loaded.folder is not None
    for warning in loaded.warnings:
        print(warning.render(), file=sys.stderr)
    model = loaded.model
    source = _source(model, images)
    data = model.spec.data.get("train")
    batch = batch_size or (data.batch_size if data else 1)
    found, used = measure(model, source, mode, batch)
    path = loaded.folder.statistics / COMPUTED
    about = {"iteration": str(loaded.iteration), "mode": mode, "images": str(used), "batch_size": str(batch)}
    write_weights(path, found, about=about)
    print(f"{path}: {mode} statistics of {len(found)} layers over {used} images, for {loaded.weights}")
    print(f"compare: segspec test {run} --statistics computed, and --statistics running", file=sys.stderr)
    if merge:
        _write_folded(loaded, found)
    return path


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
        hint = "nothing needs to be computed"
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
        print(Diagnostic(message, hint=hint, severity="warning").render(), file=sys.stderr)


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
    if layer is None:
        raise RunError("the run's spec names no training images", hint="name some with --images")
    if images is not None:
        return open_images([entry.image for entry in collect([str(images)])], layer)
    return open_source(layer, None, Path())


def _write_folded(loaded: Loaded, found: Blobs) -> None:
    """Writes `folded.yaml` and `folded.safetensors`, a net that needs no statistics any more."""
    assert loaded.folder is not None
    model = loaded.model
    graph = nominal_graph(model.spec)
    state = {name: {**model.state[name], **_arrays(found[name])} for name in found}
    spec, params, rest, merged = fold(model.spec, graph, model.params, {**model.state, **state})
    path = loaded.folder.statistics / "folded.yaml"
    write_atomically(path, flat_text(replace(spec, name=f"{spec.name}_folded")).encode())
    write_weights(path.with_suffix(".safetensors"), params, rest)
    left = len(normalised_layers(graph)) - len(merged)
    remark = f"; {left} follow no convolution of their own and stay" if left else ""
    print(f"{path}: {len(merged)} normalisations merged into their convolutions{remark}")


def _arrays(blobs: dict[str, npt.NDArray[np.generic]]) -> dict[str, jax.Array]:
    return {name: jax.numpy.asarray(value) for name, value in blobs.items()}
