"""``python -m bagscan``: the command line."""

from bagscan.cli import main

main()
