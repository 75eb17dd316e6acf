"""Protocol between a process and its workers: JSON messages over a pipe, never pickles.

A task is a dictionary with ``kind``. The answer has ``ok`` and, if that is false, ``error``.
A model is ``{"folder", "threshold"}``; a threshold of None is the model's own.

The kinds are listed in :mod:`bagscan.service.inference.worker` and :mod:`bagscan.batch.task`.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any


def send(pipe: Connection, message: dict[str, Any]) -> None:
    """Send a message."""
    pipe.send_bytes(json.dumps(message).encode())


def receive(pipe: Connection) -> dict[str, Any]:
    """Wait for a message and return it.

    Raises:
        EOFError: the other end is closed.
        OSError: the message is longer than 256 MiB, or the pipe is broken.
        ValueError: the bytes received are not a message.
    """
    message = json.loads(pipe.recv_bytes(maxlength=256 << 20))
    if not isinstance(message, dict):
        raise ValueError("not a message: expected a JSON object")
    return message
