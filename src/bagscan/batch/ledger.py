"""Ledger of an unfinished part: rows that a resumed run need not compute again.

Rows are not synced to disk. A kill of the process loses no row; bags whose rows a power failure
loses are screened again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Ledger:
    """Rows of an unfinished part, one JSON line each; damaged lines are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[int, dict[str, Any]]:
        """Return entries by number of the bag, and end an incomplete last line."""
        entries: dict[int, dict[str, Any]] = {}
        if self.path.is_file():
            *lines, incomplete = self.path.read_bytes().split(b"\n")
            for line in lines:
                try:
                    entry = json.loads(line)
                    entries[entry["row"]["number"]] = entry
                except (ValueError, TypeError, KeyError):  # left by a power failure
                    continue
            if incomplete:  # the next row must start on a line of its own
                with self.path.open("ab") as file:
                    file.write(b"\n")
        return entries

    def add(self, entry: dict[str, Any]) -> None:
        """Append an entry."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def remove(self) -> None:
        """Delete the ledger of a finished part."""
        self.path.unlink(missing_ok=True)
