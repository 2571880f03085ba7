from __future__ import annotations

from segspec.convert.names import free_name


def test_a_name_that_is_taken_gets_the_first_free_number() -> None:
    assert free_name("a", {"b"}) == "a"
    assert free_name("a", {"a", "a2"}) == "a3"
    assert free_name("a", {"a"}, "_") == "a_2"
