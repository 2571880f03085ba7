"""Measures segspec side by side with PyTorch.

python tools/bench/bench.py train infer --networks segnet --sizes 180x240 --out bench.json --markdown bench.md
python tools/bench/bench.py table               everything that has a bar, and whether it is met
python tools/bench/bench.py train --quick       ends within about a minute
"""

import sys
from pathlib import Path

# This folder is a package; as the first place to look it would hide what its files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
