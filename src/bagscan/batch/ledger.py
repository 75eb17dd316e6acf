"""Rows of a part at work, kept as they are judged: what a kill leaves of them is not judged again.

No row waits for the disk: a kill of the process takes nothing that was written, and what a loss of power takes is judged again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Ledger:
    """Rows of a part at work, one JSON line each; a line that is torn counts for nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[int, dict[str, Any]]:
        """Rows by number of the bag."""
        found: dict[int, dict[str, Any]] = {}
        if self.path.is_file():
            *lines, torn = self.path.read_bytes().split(b"\n")
            for line in lines:
                try:
                    entry = json.loads(line)
                    found[entry["row"]["number"]] = entry
                except (ValueError, TypeError, KeyError):  # a loss of power may leave anything
                    continue
            if torn:  # so that what is added does not stand on its line
                with self.path.open("ab") as file:
                    file.write(b"\n")
        return found

    def add(self, entry: dict[str, Any]) -> None:
        """Add a row; a kill of this process does not take it."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def remove(self) -> None:
        """The part is written."""
        self.path.unlink(missing_ok=True)
