from __future__ import annotations

import jax

from segspec.run.environment import compare_environments, describe_environment


def test_the_same_environment_has_no_differences() -> None:
    now = describe_environment()
    assert now["jax"] == jax.__version__ and int(now["cores"]) >= 1
    assert compare_environments(now, describe_environment()) == []


def test_what_changed_or_is_new_or_gone_is_named() -> None:
    then = {"jax": "0.10.1", "cores": "2", "XLA_FLAGS": "", "old": "1"}
    now = {"jax": "0.10.2", "cores": "2", "XLA_FLAGS": "--x"}
    expected = ["jax 0.10.1 then, 0.10.2 now", "XLA_FLAGS not set then, --x now", "old 1 then, not set now"]
    assert compare_environments(then, now) == expected
