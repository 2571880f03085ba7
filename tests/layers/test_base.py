from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Filler, ParamSpec, ShapeError, stored_axis


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "uniform", "min": 2.0, "max": -1.0}, "min 2 is above max -1"),
        ({"type": "uniform", "min": 2.0}, "min 2 is above max 1"),
        ({"type": "gaussian", "std": -0.1}, "greater than or equal to 0"),
        ({"type": "gauss"}, "gaussian"),
        ({"type": "constant", "value": float("nan")}, "finite"),
    ],
)
def test_fillers_that_mean_nothing(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Filler.model_validate(fields)


@pytest.mark.parametrize("layout", ["matrix", "plain"])
def test_only_filters_are_bilinear(layout: Any) -> None:
    ParamSpec((4, 4, 1, 3), Filler(type="bilinear"), "filter").check_filler()
    ParamSpec((4, 4), Filler(type="msra"), layout).check_filler()
    with pytest.raises(ShapeError, match="a bilinear filler fits the filters of a convolution or deconvolution only"):
        ParamSpec((4, 4), Filler(type="bilinear"), layout).check_filler()


@pytest.mark.parametrize(("axis", "stored"), [(0, 0), (1, 3), (2, 1), (3, 2), (-1, 2), (-3, 3), (-4, 0)])
def test_axes_of_an_image_count_in_caffes_order(axis: int, stored: int) -> None:
    assert stored_axis(axis, 4) == stored
    assert Blob((2, 4, 5, 3)).caffe_shape[axis] == (2, 4, 5, 3)[stored]


def test_axes_of_other_ranks_are_stored_as_they_are() -> None:
    assert [stored_axis(axis, 3) for axis in (0, 1, 2, -1)] == [0, 1, 2, 2]
    with pytest.raises(ShapeError, match="axis 2 is outside an input of 2 axes"):
        stored_axis(2, 2)
