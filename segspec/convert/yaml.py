"""A net as a YAML spec that a person would want to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from segspec.convert.entry import Entry, entries_of, plain_parameters, yaml_name
from segspec.convert.repeats import Definition, recover_blocks
from segspec.spec.flatten import class_lines
from segspec.spec.netspec import NetSpec
from segspec.spec.unread import unread_lines
from segspec.syntax.write import flow, scalar


def spec_text(spec: NetSpec, *, blocks: bool = True) -> str:
    """The net as YAML, defaults left out and repetitions written as blocks.

    Args:
        spec: the net.
        blocks: whether repetitions become blocks.

    Raises:
        SpecError: the net says something that YAML cannot.
    """
    entries = entries_of(spec)
    definitions: tuple[Definition, ...] = ()
    if blocks:
        definitions, entries = recover_blocks(entries)
    layers = ["layers:", *_items(entries, "  ")] if entries else ["layers: []"]
    unread = unread_lines(replace(field, layer=yaml_name(field.layer)) for field in spec.unread)
    return "\n".join([*_head(spec), *_blocks(definitions), *layers, *unread]) + "\n"


def _head(spec: NetSpec) -> Iterator[str]:
    yield "segspec: 1"
    yield f"name: {scalar(spec.name)}"
    if spec.classes is not None:
        yield "classes:"
        yield from class_lines(spec.classes)
    if spec.input is not None:
        yield f"input: {flow(spec.input.model_dump(exclude_defaults=True))}"
    if spec.data:
        yield "data:"
        for phase, layer in spec.data.items():
            yield f"  {phase}: {flow({'type': layer.type, **plain_parameters(layer)})}"
    if spec.output is not None:
        yield f"output: {scalar(spec.output)}"


def _blocks(definitions: Iterable[Definition]) -> Iterator[str]:
    if definitions:
        yield "blocks:"
    for block in definitions:
        yield f"  {block.name}:"
        yield "    scope: false"
        if block.args:
            yield f"    args: {flow(dict(block.args))}"
        yield "    layers:"
        yield from _items(block.items, "      ")


def _items(entries: Iterable[Entry], indent: str) -> Iterator[str]:
    for entry in entries:
        yield f"{indent}- {entry.type}" + (f": {flow(dict(entry.fields))}" if entry.fields else "")
