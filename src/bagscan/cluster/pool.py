"""Bags judged by the actors of a Ray cluster, in the place of worker processes of one machine.

An actor that dies, with its node or alone, is started again elsewhere and its bag is judged once more; rows are still written by who
asked, into the same ledger and the same parts, so that nothing is lost, nothing doubled, and the bytes are those of one machine.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from bagscan.batch.run import BatchConfig
from bagscan.batch.task import judge_bag
from bagscan.cluster.connection import LOCAL, connect
from bagscan.core.errors import BagscanError, ConfigError
from bagscan.runtime.load import AUTO, VARIABLE
from bagscan.workers.screeners import screener, try_out
from bagscan.workers.tasks import answered

Judge = Callable[[list[str], list[dict[str, str]]], dict[str, Any]]
TRIES = 3
LOOK_S = 0.5
START_S = 300.0
AGAIN_S = 1.0


class _Actor:
    """What runs on a node: models loaded once, bags judged one by one."""

    def __init__(self, models: list[str], judge: Judge, runtime: str) -> None:
        self._models, self._judge = models, judge
        os.environ[VARIABLE] = runtime  # nodes have environments of their own

    def ready(self) -> str:
        """What is wrong with the models here; nothing, once each has judged a drawn scan."""
        if self._judge is not judge_bag:  # a stand-in
            return ""
        try:
            for folder in self._models:
                try_out(screener(folder))
        except BagscanError as error:
            return str(error)
        return ""

    def judge(self, views: list[dict[str, str]]) -> dict[str, Any]:
        return answered(self._judge, self._models, views)


class RayPool:
    """As :class:`bagscan.batch.run.Pool`, over a Ray cluster. Scans and models must lie where every node sees them.

    Args:
        address: as :func:`bagscan.cluster.connection.connect`.
        judge: what judges a bag; tests give stand-ins.
    """

    def __init__(self, models: Sequence[Path], config: BatchConfig, address: str = LOCAL, judge: Judge = judge_bag) -> None:
        self._config = config
        self._models = [str(Path(model).absolute()) for model in models]
        self._judge = judge
        connect(address)
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
        self._idle = deque(self._started() for _ in range(config.workers))
        try:
            troubles = [told for told in ray.get([actor.ready.remote() for actor in self._idle], timeout=START_S) if told]
        except RayError as error:
            raise BagscanError(f"the cluster has no room for {config.workers} workers of one core each: {error}") from error
        if troubles:
            raise ConfigError(f"the models cannot be used on the cluster: {troubles[0]}")

    def _started(self) -> Any:
        return self._actor.remote(self._models, self._judge, os.environ.get(VARIABLE) or AUTO)

    def _replacement(self) -> Any:
        """A new actor that lives: a node that has just died is offered as room for a while.

        Raises:
            BagscanError: the cluster has no room any more.
        """
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            actor = self._started()
            try:
                ray.get(actor.ready.remote(), timeout=START_S)
                return actor
            except RayActorError:
                time.sleep(AGAIN_S)
        raise BagscanError(f"the cluster has had no room for a worker for {START_S:g} s")

    def judge(self, bags: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Judge bags side by side: (number, bag, answer), as they are done."""
        waiting = deque((number, bag, 1) for number, bag in bags)
        flying: dict[Any, tuple[int, dict[str, Any], int, Any, float]] = {}
        while waiting or flying:
            while waiting and self._idle:
                number, bag, attempt = waiting.popleft()
                actor = self._idle.popleft()
                flying[actor.judge.remote(bag["views"])] = (number, bag, attempt, actor, time.monotonic())
            done, _ = ray.wait(list(flying), num_returns=1, timeout=LOOK_S)
            for reference in done:
                number, bag, attempt, actor, _ = flying.pop(reference)
                try:
                    answer = ray.get(reference)
                except RayActorError as error:  # the process or its node is gone: another is started, wherever there is room
                    self._idle.append(self._replacement())
                    if attempt < TRIES:
                        waiting.appendleft((number, bag, attempt + 1))
                        continue
                    answer = {"ok": False, "error": f"the process ended in the middle of its work, {TRIES} times: {type(error).__name__}"}
                except RayError as error:  # of this bag alone: the actor lives
                    self._idle.append(actor)
                    answer = {"ok": False, "error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"}
                else:
                    self._idle.append(actor)
                yield number, bag, answer
            yield from self._overdue(flying)

    def _overdue(self, flying: dict[Any, tuple[int, dict[str, Any], int, Any, float]]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Stop what takes too long, and say so."""
        before = time.monotonic() - self._config.timeout_s
        late = [one for one, (*_, started) in flying.items() if started < before]
        done = set(ray.wait(late, num_returns=len(late), timeout=0)[0]) if late else set()  # while a lost actor was replaced, say
        for reference in (one for one in late if one not in done):
            number, bag, _, actor, _ = flying.pop(reference)
            ray.kill(actor)
            self._idle.append(self._replacement())
            yield number, bag, {"ok": False, "error": f"no answer within {self._config.timeout_s:g} s; the process was stopped"}

    def stop(self) -> None:
        """End the actors; the cluster stays."""
        for actor in self._idle:
            ray.kill(actor)
        self._idle.clear()
