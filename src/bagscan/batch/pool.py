"""Pool of worker processes that screen bags in parallel on this machine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bagscan.batch.run import BatchConfig
from bagscan.batch.task import screen_bags
from bagscan.core import ReasonCode
from bagscan.core.errors import ConfigError
from bagscan.workers.process import Target, Worker, WorkerHung, WorkerLost

START_S = 300.0  # time limit for loading the models


class Pool:
    """Pool of worker processes, each served by a thread.

    A worker that dies or hangs affects only the bag that it screens.

    Args:
        models: model folders; the first that takes a scan's channels screens it.
        config: settings of the run.
        target: entry point of the worker processes.
    """

    def __init__(
        self, models: Sequence[Path], config: BatchConfig, target: Target = screen_bags
    ) -> None:
        folders = [str(Path(model).absolute()) for model in models]
        self._config, self._target = config, target
        self._workers: list[Worker | None] = [None] * config.workers
        self._task: dict[str, Any] = {
            "kind": "screen",
            "models": folders,
            "runtime": config.runtime,
        }
        self._warm_up = {
            "kind": "warm",
            "models": [{"folder": folder, "threshold": None} for folder in folders],
            "runtime": config.runtime,
        }

    def screen(
        self, bags: Sequence[tuple[int, dict[str, Any]]]
    ) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Screen bags in parallel.

        Args:
            bags: (number, bag) pairs.

        Yields:
            (number, bag, answer), in order of completion.

        Raises:
            ConfigError: a worker cannot load the models.
        """
        waiting: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
        for item in bags:
            waiting.put(item)
        done: queue.SimpleQueue[tuple[int, dict[str, Any], dict[str, Any]] | BaseException] = (
            queue.SimpleQueue()
        )
        threads = [
            threading.Thread(target=self._serve, args=(slot, waiting, done), daemon=True)
            for slot in range(min(len(self._workers), len(bags)))
        ]
        for thread in threads:
            thread.start()
        for _ in bags:
            answer = done.get()
            if isinstance(answer, BaseException):
                raise answer
            yield answer

    def stop(self) -> None:
        """Stop the worker processes."""
        for worker in self._workers:
            if worker is not None:
                worker.stop()

    def _serve(
        self,
        slot: int,
        waiting: queue.SimpleQueue[tuple[int, dict[str, Any]]],
        done: queue.SimpleQueue[Any],
    ) -> None:
        while True:
            try:
                number, bag = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, bag, self._ask(slot, bag)))
            except BaseException as error:  # the caller would wait for the answer forever
                done.put(error)
                return

    def _ask(self, slot: int, bag: dict[str, Any]) -> dict[str, Any]:
        """Return the answer for a bag.

        If the worker dies, a new worker tries the bag once more. If it hangs, the bag fails.
        """
        message = ""
        for _ in range(2):
            try:
                worker = self._workers[slot]
                if worker is None:
                    worker = self._workers[slot] = Worker(self._target)
                    answer = worker.ask(self._warm_up, START_S)
                    if not answer["ok"]:
                        raise ConfigError(f"the models cannot be used: {answer['error']}")
                return worker.ask(
                    self._task | {name: bag[name] for name in ("views", "expected", "ids")},
                    self._config.timeout_s,
                )
            except WorkerLost as error:
                self._workers[slot], message = None, str(error)
                if isinstance(error, WorkerHung):
                    break
        return {"ok": False, "error": message, "code": ReasonCode.NOT_FINISHED}
