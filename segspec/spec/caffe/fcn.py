"""FCN's Python layers that read images, written as the source of images that has their folders."""

from __future__ import annotations

from dataclasses import replace

from segspec.layers.fcn import FCN_LAYOUTS, FcnLayout
from segspec.schema.read import field_names
from segspec.spec.caffe.fields import messages, text
from segspec.spec.caffe.sources import python_parameters
from segspec.spec.caffe.types import as_node
from segspec.syntax.tree import Mapping, Node, Scalar

_LAYOUTS = {layout.type: layout for layout in FCN_LAYOUTS}
_MEANS = {
    "PASCALContextSegDataLayer": (104.007, 116.669, 122.679),
    "color": (116.190, 97.203, 92.318),
    "hha": (132.431, 94.076, 118.477),
}
"""The means that stand in the programs, blue, green, red."""


def as_fcn_source(layer: Mapping) -> Mapping | None:
    """The layer as a source of images; None where it is another program, or one of other parameters."""
    kind = layer.get("type")
    program = next((text(node, "layer") for node in messages(layer, "python_param")), "")
    layout = _LAYOUTS.get(program)
    if layout is None or not isinstance(kind, Scalar) or kind.text != "Python":
        return None
    values = _values(layout, python_parameters(layer))
    if values is None:
        return None
    mean = values.pop("mean", ())
    entries = [(Scalar("python_param", kind.span), as_node(values, kind.span))]
    if isinstance(mean, tuple | list) and mean:
        entries.append((Scalar("transform_param", kind.span), as_node({"mean_value": mean}, kind.span)))
    type_entry: tuple[Scalar, Node] = (Scalar("type", kind.span), replace(kind, value=layout.type))
    return Mapping((*layer.without("type", "python_param"), type_entry, *entries), layer.span)


def _values(layout: type[FcnLayout], given: dict[object, object]) -> dict[str, object] | None:
    """The parameters by the names of the layout's fields, and `mean`; None where they are not its own."""
    values = {str(name): value for name, value in given.items()}
    if "randomize" in values:
        values["shuffle"] = values.pop("randomize")
    default = _MEANS.get(layout.type)
    if layout.type == "NYUDSegDataLayer":
        tops = values.pop("tops", None)
        if tops not in (["color", "label"], ["hha", "label"]):
            return None
        values["hha"] = tops[0] == "hha"
        default = _MEANS[tops[0]]
    needed = {*layout.paths, "split"}
    if not needed <= set(values) <= {*field_names(layout), "mean"}:
        return None
    return values if default is None else {"mean": default, **values}
