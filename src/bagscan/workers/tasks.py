"""Main loop of a worker process: receive a task, send the answer; errors are answers, too."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from bagscan.core import ReasonCode
from bagscan.core.errors import BagscanError, ModelChangedError, ReadError, UnavailableError
from bagscan.workers.protocol import receive, send

SURROUNDINGS = (ModelChangedError, UnavailableError)  # faults that are no scan's own
Task = Callable[[dict[str, Any]], dict[str, Any]]


def serve(pipe: Connection, tasks: Mapping[str, Task]) -> None:
    """Do tasks until the pipe closes; Ctrl-C is the parent's to handle.

    Args:
        tasks: by kind; each takes the task and gives what its answer holds beside ``ok`` and ``seconds``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            task = receive(pipe)
        except (EOFError, OSError):
            return
        started = time.perf_counter()
        answer = answered(tasks[task["kind"]], task)
        try:
            send(pipe, {"seconds": time.perf_counter() - started, **answer})
        except OSError:  # whoever asked is gone, as when the service stops
            return


def answered(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What came of a piece of work: its own answer, or the error in its place."""
    try:
        return {"ok": True, **work(*arguments)}
    except (
        Exception
    ) as error:  # readers and runtimes raise anything; none of it may end the process
        code = ReasonCode.UNREADABLE if isinstance(error, ReadError) else ReasonCode.MODEL_FAILED
        message = (
            str(error) if isinstance(error, BagscanError) else f"{type(error).__name__}: {error}"
        )
        return {
            "ok": False,
            "error": message or type(error).__name__,
            "code": code,
            "refused": isinstance(error, ReadError),
            "surroundings": isinstance(error, SURROUNDINGS),
        }
