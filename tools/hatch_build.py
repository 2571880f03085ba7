"""What hatchling does besides copying files: it has the native convolutions built."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from build_native import LIBRARY, build

VARIABLE = "SEGSPEC_BUILD_NATIVE"


class NativeBuildHook(BuildHookInterface[Any]):
    """Puts the library beside its sources and into the wheel, which is then one for this system."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or os.environ.get(VARIABLE) == "0":
            return
        reason = build()
        if reason:
            self.app.display_info(f"no native convolutions: {reason}")
            return
        build_data["artifacts"].append(LIBRARY.relative_to(Path(self.root)).as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
