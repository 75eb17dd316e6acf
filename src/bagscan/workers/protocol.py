"""What a parent and its worker processes say to each other: JSON lines over a pipe, never pickles.

A task is a dictionary with ``kind``; the answer has ``ok`` and, where it is false, ``error``.

Which kinds there are, the entry points say: :mod:`bagscan.service.inference.worker` and :mod:`bagscan.batch.task`.
A model is ``{"folder", "threshold"}``; a threshold of none is the model's own.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any


def send(pipe: Connection, message: dict[str, Any]) -> None:
    """Send one message."""
    pipe.send_bytes(json.dumps(message).encode())


def receive(pipe: Connection) -> dict[str, Any]:
    """Wait for one message. Raises ``EOFError`` when the other end is gone, ``ValueError`` for what is no message."""
    message = json.loads(pipe.recv_bytes(maxlength=256 << 20))
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message
