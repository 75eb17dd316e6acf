"""A worker process and how to be rid of it: asked with a time limit, stopped when it does not answer."""

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
    """The process ended, or said nothing in time and was stopped."""


class WorkerHung(WorkerLost):
    """The process said nothing in time and was stopped."""


class Worker:
    """One process, one pipe.

    Args:
        target: what the process runs, ``target(pipe)``; a function of a module, as the process imports it anew.
    """

    def __init__(self, target: Target) -> None:
        context = get_context("spawn")  # a fork would share the database's connections
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=target, args=(theirs,), daemon=True, name="bagscan worker"
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def ask(self, task: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a task and wait for its answer.

        Raises:
            WorkerLost: the process is gone. WorkerHung: it was stopped because it did not answer in time.
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
        """End the process, whatever it does."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.kill()
        self._process.join(STOP_S)
