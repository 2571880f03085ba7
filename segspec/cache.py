"""Where segspec keeps what it can make again: compiled programs, and what was counted in label images."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SEGSPEC_CACHE"


def cache_folder() -> Path | None:
    """`$SEGSPEC_CACHE`, else `segspec` in the user's cache folder (`$XDG_CACHE_HOME`, else `~/.cache`).

    It may not exist yet. None where SEGSPEC_CACHE is empty, which keeps nothing, and where the user has no home.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is not None:
        return Path(wanted) if wanted else None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segspec"
    except RuntimeError:  # no HOME, and no entry for this user either
        return None
