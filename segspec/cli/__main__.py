"""`python -m segspec.cli`."""

import sys

from segspec.cli import main

sys.exit(main())
