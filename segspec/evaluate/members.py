"""The nets of a test: one, or several whose classes agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segspec.errors import SpecError, UsageError
from segspec.evaluate.load import Loaded
from segspec.evaluate.model import Model, table_of
from segspec.graph.nominal import nominal_graph
from segspec.run.folder import is_run
from segspec.spec.classes import ClassTable


@dataclass(frozen=True)
class Members:
    """The nets that a test asks.

    Attributes:
        names: what to call each.
        loaded: each, with where it came from.
    """

    names: tuple[str, ...]
    loaded: tuple[Loaded, ...]

    @property
    def first(self) -> Loaded:
        """The one whose classes and test images are used."""
        return self.loaded[0]

    @property
    def several(self) -> bool:
        """Whether there is anything to average."""
        return len(self.loaded) > 1

    @property
    def models(self) -> tuple[Model, ...]:
        """Their models."""
        return tuple(loaded.model for loaded in self.loaded)

    @property
    def channels(self) -> int:
        """Channels of images that hold what any of them wants to see."""
        return max(model.channels for model in self.models)

    @property
    def title(self) -> str:
        """The name of the net, or of all that are averaged."""
        return " + ".join(dict.fromkeys(model.spec.name for model in self.models))

    @property
    def weights(self) -> str:
        """Which weights they have, in words."""
        if not self.several:
            return self.first.weights
        each = (f"{name}, {loaded.weights}" for name, loaded in zip(self.names, self.loaded, strict=True))
        return f"mean of {len(self.names)} nets: {'; '.join(each)}"

    @property
    def statistics(self) -> str:
        """What their batch normalisation uses, in words."""
        origins = [model.origin for model in self.models]
        if len(set(origins)) == 1:
            return origins[0]
        return "; ".join(f"{name}, {origin}" for name, origin in zip(self.names, origins, strict=True))


def split_runs(model: Path, paths: Sequence[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The nets of an ensemble, and the images: of all paths that are named, run folders are nets.

    Raises:
        UsageError: there is only one net, one is named twice, or a path leads to nothing.
    """
    missing = next((path for path in paths if not Path(path).exists()), None)
    if missing is not None:
        raise UsageError("there is no such run, image, folder or list", place=missing, hint="check the path")
    nets = (model, *(Path(path) for path in paths if is_run(Path(path))))
    twice = next((path for number, path in enumerate(nets) if path.resolve() in map(Path.resolve, nets[:number])), None)
    if twice is not None:
        raise UsageError("is named twice, and would count twice", place=str(twice), hint="name each run once")
    if len(nets) == 1:
        hint = "segspec test --ensemble RUN1 RUN2 [IMAGES...]"
        raise UsageError("--ensemble averages two runs or more; only one is named", place=str(model), hint=hint)
    return nets, tuple(path for path in paths if not is_run(Path(path)))


def name_each(paths: Sequence[Path]) -> tuple[str, ...]:
    """A name for each net: its folder's or file's, or the whole path where two are alike."""
    names = tuple(path.resolve().name for path in paths)
    return names if len(set(names)) == len(names) else tuple(map(str, paths))


def refuse_other_classes(members: Members) -> None:
    """Raises SpecError where two nets tell other classes apart."""
    if not members.several:
        return
    first, *others = (_classes(model) for model in members.models)
    for name, other in zip(members.names[1:], others, strict=True):
        difference = _first_difference(first, other)
        if difference:
            message = f"{members.names[0]} and {name} have different classes: {difference}"
            hint = "only nets of the same classes can be averaged; --classes TABLE gives all of them one table"
            raise SpecError(message, hint=hint)


def _classes(model: Model) -> tuple[ClassTable, int]:
    """The class table, and how many classes the scores tell apart."""
    graph = nominal_graph(model.spec)
    channels = 0 if graph.prediction is None else graph.blobs[graph.prediction].shape[-1]
    return table_of(model), max(2, channels)


def _first_difference(first: tuple[ClassTable, int], second: tuple[ClassTable, int]) -> str:
    """What is not the same in two tables, in words; empty where all that counts is."""
    (one, scores), (two, other_scores) = first, second
    if one.count != two.count:
        return f"{one.count} and {two.count} of them"
    if scores != other_scores:
        return f"scores for {scores} and for {other_scores} of them"
    for index, names in enumerate(zip(one.names, two.names, strict=True)):
        if names[0] != names[1]:
            return f"class {index} is '{names[0]}' in the one and '{names[1]}' in the other"
    if one.ignore_label != two.ignore_label:
        labels = ("no label" if label is None else f"label {label}" for label in (one.ignore_label, two.ignore_label))
        return "{} is ignored in the one and {} in the other".format(*labels)
    return ""
