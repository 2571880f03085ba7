"""Bad specs and the exact message each gives, caret included.

Each `tests/golden/specs/NAME.yaml` has its message beside it in `NAME.txt`. After a deliberate change of wording, run
with SEGSPEC_UPDATE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.graph.check import check
from segspec.spec.net import read_net
from segspec.syntax.tree import read_source

FOLDER = Path(__file__).parent.parent / "golden" / "specs"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def test_there_are_at_least_forty() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_a_bad_spec_gives_exactly_this_message(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    source = Source(path.name, read_source(path).text)
    with pytest.raises(SpecError) as caught:
        check(read_net(source, FOLDER))
    expected = path.with_suffix(".txt")
    if os.environ.get("SEGSPEC_UPDATE_GOLDEN"):
        expected.write_text(f"{caught.value}\n", encoding="utf-8")
    assert f"{caught.value}\n" == expected.read_text(encoding="utf-8")
