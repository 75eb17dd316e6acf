"""One check, used by every type: say what was expected and what came."""

from __future__ import annotations

import math
from typing import Any


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition``."""
    if not condition:
        raise ValueError(message)


def is_number(value: Any) -> bool:
    """Whether a value of a user's file is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def freeze(array: Any) -> Any:
    """A read-only view of an array, so that a frozen type is frozen all the way down."""
    view = array.view()
    view.flags.writeable = False
    return view
