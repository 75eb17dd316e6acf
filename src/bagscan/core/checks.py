"""One check, used by every type: say what was expected and what came."""

from __future__ import annotations

from typing import Any


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition``."""
    if not condition:
        raise ValueError(message)


def freeze(array: Any) -> Any:
    """A read-only view of an array, so that a frozen type is frozen all the way down."""
    view = array.view()
    view.flags.writeable = False
    return view
