"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that whoever reads it meanwhile, or after a kill, finds the old one or the new one."""
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    part.write_text(text)
    part.replace(path)
