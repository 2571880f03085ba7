from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.layers import by_type
from segspec.layers.absent import ABSENT
from segspec.spec.net import read_net


@pytest.mark.parametrize("kind", ABSENT)
def test_a_type_that_is_not_there_on_purpose_is_refused_with_the_reason(kind: str) -> None:
    assert by_type(kind) is None
    with pytest.raises(SpecError) as caught:
        read_net(Source("x.yaml", f"segspec: 1\nlayers: [{kind}: {{}}]\n"), Path())
    (found,) = caught.value.diagnostics
    assert found.message == f"unsupported layer type '{kind}'"
    assert found.hint == ABSENT[kind]
