from __future__ import annotations

import pytest

from segspec.errors import UsageError
from segspec.evaluate.views import ONE_VIEW, View, parse_views


@pytest.mark.parametrize(
    ("text", "views", "words"),
    [
        ("flip", [View(), View(1.0, True)], "2 views: mirrored too"),
        ("0.5", [View(), View(0.5)], "2 views: scales 1 and 0.5"),
        ("1", [View()], "1 view"),
        (
            "0.75, flip,1,1.25,0.75",
            [View(1.0), View(1.0, True), View(0.75), View(0.75, True), View(1.25), View(1.25, True)],
            "6 views: scales 1, 0.75 and 1.25, each mirrored too",
        ),
    ],
)
def test_the_image_itself_is_the_first_view_and_nothing_is_shown_twice(
    text: str, views: list[View], words: str
) -> None:
    found = parse_views(text)
    assert (list(found), len(found), str(found)) == (views, len(views), words)


def test_without_more_there_is_one_view() -> None:
    assert list(ONE_VIEW) == [View()]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("flop", "--tta takes flip and scales; got 'flop'", "did you mean 'flip'?"),
        ("", "--tta takes flip and scales; got ''", "--tta flip,0.75,1.25"),
        ("flip,", "--tta takes flip and scales; got ''", "--tta flip,0.75,1.25"),
        ("flip,nan", "a scale of --tta lies between 0.1 and 8; got 'nan'", ""),
        ("0.75,125", "a scale of --tta lies between 0.1 and 8; got '125'", ""),
        ("-1", "a scale of --tta lies between 0.1 and 8; got '-1'", ""),
    ],
)
def test_anything_else_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_views(text)
    assert caught.value.diagnostics[0].message == message
    assert hint in caught.value.diagnostics[0].hint
