"""Main loop of a worker process: receive a task, send its answer or its error."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from bagscan.core import ReasonCode
from bagscan.core.errors import BagscanError, ModelChangedError, ReadError, UnavailableError
from bagscan.workers.protocol import receive, send

EXTERNAL_ERRORS = (ModelChangedError, UnavailableError)  # errors not caused by the scan
Task = Callable[[dict[str, Any]], dict[str, Any]]


def serve(pipe: Connection, tasks: Mapping[str, Task]) -> None:
    """Run tasks until the pipe closes. Ctrl-C is left to the parent process.

    Args:
        tasks: functions by kind of task. Each takes the task and returns its answer, to which
            ``ok`` and ``seconds`` are added.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            task = receive(pipe)
        except (EOFError, OSError):
            return
        started = time.perf_counter()
        answer = answer_or_error(tasks[task["kind"]], task)
        try:
            send(pipe, {"seconds": time.perf_counter() - started, **answer})
        except OSError:  # the parent is gone, as when the service stops
            return


def answer_or_error(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function and return its answer; if it raises, return an error answer.

    An error answer has ``error``, ``code`` (a reason code), ``refused`` (True if the scan cannot be
    read) and ``surroundings`` (True if the scan is not the cause).
    """
    try:
        return {"ok": True, **work(*arguments)}
    except Exception as error:  # readers and runtimes raise any class; the process must go on
        name = type(error).__name__
        code = ReasonCode.UNREADABLE if isinstance(error, ReadError) else ReasonCode.MODEL_FAILED
        message = str(error) if isinstance(error, BagscanError) else f"{name}: {error}"
        return {
            "ok": False,
            "error": message or name,
            "code": code,
            "refused": isinstance(error, ReadError),
            "surroundings": isinstance(error, EXTERNAL_ERRORS),
        }
