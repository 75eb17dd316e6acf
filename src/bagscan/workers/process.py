"""Worker process with a time limit for each task; it is stopped if it does not answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from bagscan.core.errors import BagscanError
from bagscan.workers.protocol import receive, send

Target = Callable[[Connection], None]
STOP_S = 5


class WorkerLost(BagscanError):
    """The process ended, or was stopped because it did not answer in time."""


class WorkerHung(WorkerLost):
    """The process was stopped because it did not answer in time."""


class Worker:
    """A worker process and the pipe to it.

    Args:
        target: function of a module, which the new process imports and calls as ``target(pipe)``.
    """

    def __init__(self, target: Target) -> None:
        context = get_context("spawn")  # a fork would share the database's connections
        self._pipe, worker_end = context.Pipe()
        self._process = context.Process(
            target=target, args=(worker_end,), daemon=True, name="bagscan worker"
        )
        self._process.start()
        worker_end.close()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.is_alive()

    def ask(self, task: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a task and return its answer.

        Raises:
            WorkerLost: the process ended.
            WorkerHung: the process did not answer in time and was stopped.
        """
        try:
            send(self._pipe, task)
            if not self._pipe.poll(timeout_s):
                self.stop()
                raise WorkerHung(f"no answer within {timeout_s:g} s; the process was stopped")
            return receive(self._pipe)
        except (EOFError, OSError, ValueError) as error:
            self.stop()
            raise WorkerLost(
                f"the process ended in the middle of its work (exit code {self._process.exitcode})"
            ) from error

    def stop(self) -> None:
        """Kill the process."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.kill()
        self._process.join(STOP_S)
