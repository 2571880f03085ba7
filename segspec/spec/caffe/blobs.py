"""What the blobs of a prototxt are called inside, where every blob has one writer.

A layer that works in place, writing the blob it reads, gets a new version of it (`conv1@relu1`), and whatever reads the
blob later reads the newest version, as in Caffe. Images are called `data` and labels `label`, as in every other net,
whatever the tops of the data layer are called; further labels are `label@NAME`.
"""

from __future__ import annotations

from collections.abc import Sequence as Items

from segspec.errors import Span
from segspec.layers.data import Input
from segspec.schema.read import read_model
from segspec.spec.caffe.sources import Fed
from segspec.spec.caffe.types import typed_value
from segspec.spec.netspec import FedShape
from segspec.syntax.tree import Mapping, Node, Problems, Scalar


class Blobs:
    """The blobs known at one point of a net, and the shapes of those that are fed."""

    def __init__(self, problems: Problems):
        self.problems = problems
        self.inside: dict[str, str] = {}  # by the name in the file: the newest version
        self.places: dict[str, Span] = {}  # by the name inside: where it was made
        self.declared: dict[str, tuple[int, ...]] = {}
        self.fed: dict[str, FedShape] = {}

    def write(self, top: Scalar, layer: str) -> str:
        """A new version of a blob: by its own name, unless that is taken. Returns its name inside."""
        return self._put(top, top.text if top.text not in self.places else f"{top.text}@{layer}")

    def place(self, blob: str) -> Span | None:
        """Where the newest version of a blob was made."""
        return self.places.get(self.inside[blob]) if blob in self.inside else None

    def feed(self, blobs: Items[Fed]) -> None:
        """What a source delivers: the first images become `data`, the first labels `label`."""
        for blob in blobs:
            wish = {"image": "data", "label": "label"}.get(blob.part, "")
            if wish in self.places:
                wish = f"label@{blob.top.text}" if wish == "label" else ""
            name = self._put(blob.top, wish or self._free(blob.top.text))
            if blob.shape:
                self.fed[name] = blob.shape

    def declare(self, inputs: Items[Scalar], shapes: Items[Node]) -> None:
        """Inputs with their shapes; the first that can hold images is called `data` inside."""
        free = not self.declared and "data" not in self.places and "data" not in {name.text for name in inputs}
        for name, node in zip(inputs, shapes, strict=False):
            entries = ((Scalar("shape", node.span), typed_value([node], tuple[int, ...], {}, [])),)
            read = read_model(Input, Mapping(entries, node.span), self.problems, f"input '{name.text}'")
            if read is not None:
                images = free and len(read.shape) == 4
                free = free and not images
                inside = self._put(name, "data" if images else self._free(name.text))
                self.declared[inside] = read.shape

    def _free(self, name: str) -> str:
        """A name that no blob has yet; `data` and `label` are kept for what they mean."""
        return f"{name}@input" if name in self.places else name

    def _put(self, top: Scalar, inside: str) -> str:
        self.inside[top.text] = inside
        self.places[inside] = top.span
        return inside
