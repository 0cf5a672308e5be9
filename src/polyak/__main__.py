"""`python -m polyak` is `polyak`: what torchrun starts."""

import sys

from polyak.cli import main

sys.exit(main())
