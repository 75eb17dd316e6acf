"""Bags judged side by side by worker processes of this machine; one that dies or hangs takes no other bag with it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bagscan.batch.run import BatchConfig
from bagscan.batch.task import judge_bags
from bagscan.core import ReasonCode
from bagscan.core.errors import ConfigError
from bagscan.workers.process import Target, Worker, WorkerHung, WorkerLost

START_S = 300.0


class Pool:
    """Worker processes that judge bags, each asked by a thread of its own."""

    def __init__(
        self, models: Sequence[Path], config: BatchConfig, target: Target = judge_bags
    ) -> None:
        self._models, self._config, self._target = (
            [str(Path(model).absolute()) for model in models],
            config,
            target,
        )
        self._workers: list[Worker | None] = [None] * config.workers
        self._task: dict[str, Any] = {
            "kind": "judge",
            "models": self._models,
            "runtime": config.runtime,
        }
        self._warm = {
            "kind": "warm",
            "models": [{"folder": folder, "threshold": None} for folder in self._models],
            "runtime": config.runtime,
        }

    def judge(
        self, bags: Sequence[tuple[int, dict[str, Any]]]
    ) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Judge bags side by side: (number, bag, answer), as they are done."""
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
        """End the processes."""
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
            except BaseException as error:  # the caller must not wait for ever
                done.put(error)
                return

    def _ask(self, slot: int, bag: dict[str, Any]) -> dict[str, Any]:
        """One bag's answer; a worker that died is replaced and the bag tried once more, one that hung is not asked again."""
        message = ""
        for _ in range(2):
            try:
                worker = self._workers[slot]
                if worker is None:
                    worker = self._workers[slot] = Worker(self._target)
                    answer = worker.ask(self._warm, START_S)
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
