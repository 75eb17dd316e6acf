"""Bags judged by the actors of a Ray cluster, in the place of worker processes of one machine.

An actor that dies, with its node or alone, is started again elsewhere and its bag is judged once more; rows are still written by who
asked, into the same ledger and the same parts, so that nothing is lost, nothing doubled, and the bytes are those of one machine.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bagscan.batch.run import BatchConfig
from bagscan.batch.task import judge_bag
from bagscan.cluster.connection import LOCAL, connect
from bagscan.core import ReasonCode
from bagscan.core.errors import BagscanError, ConfigError
from bagscan.workers.screeners import screener, try_out
from bagscan.workers.tasks import answered

Judge = Callable[[list[str], list[dict[str, str]], list[str], list[str]], dict[str, Any]]
Answer = tuple[int, dict[str, Any], dict[str, Any]]  # number, bag, what came of it
TRIES = 3
LOOK_S = 0.5
START_S = 300.0
AGAIN_S = 1.0
AHEAD = (
    2  # bags that an actor has, the one that it judges among them: it must not wait for the next
)


class _Actor:
    """What runs on a node: models loaded once, bags judged one by one."""

    def __init__(self, models: list[str], judge: Judge, runtime: str | None) -> None:
        self._models, self._judge, self._runtime = models, judge, runtime

    def ready(self) -> str:
        """What is wrong with the models here; nothing, once each has judged a drawn scan."""
        if self._judge is not judge_bag:  # a stand-in
            return ""
        try:
            for folder in self._models:
                try_out(screener(folder, runtime=self._runtime))
        except BagscanError as error:
            return str(error)
        return ""

    def judge(
        self, views: list[dict[str, str]], expected: list[str], ids: list[str]
    ) -> dict[str, Any]:
        judge = (
            functools.partial(judge_bag, runtime=self._runtime)
            if self._judge is judge_bag
            else self._judge
        )
        return answered(judge, self._models, views, expected, ids)


@dataclass
class _Given:
    """A bag, how often it was tried, and what Ray calls its answer."""

    number: int
    bag: dict[str, Any]
    attempt: int = 1
    reference: Any = None


@dataclass
class _Seat:
    """Room for one actor.

    Attributes:
        starting: what Ray calls its being ready; None once it is. given: bags in the order in which it judges them.
        since: when it was started, and then when it began with the first bag.
    """

    actor: Any = None
    starting: Any = None
    given: deque[_Given] = field(default_factory=deque)
    since: float = 0.0

    def references(self) -> list[Any]:
        """What it may answer to."""
        return [one.reference for one in self.given] if self.starting is None else [self.starting]

    def give(self, one: _Given) -> None:
        one.reference = self.actor.judge.remote(
            one.bag["views"], one.bag["expected"], one.bag["ids"]
        )
        self.since = self.since if self.given else time.monotonic()
        self.given.append(one)

    def taken(self, reference: Any) -> _Given:
        """What is done with; the next one has begun."""
        (one,) = (given for given in self.given if given.reference == reference)
        self.given.remove(one)
        self.since = time.monotonic()
        return one


class RayPool:
    """As :class:`bagscan.batch.pool.Pool`, over a Ray cluster. Scans and models must lie where every node sees them.

    Args:
        address: as :func:`bagscan.cluster.connection.connect`.
        judge: what judges a bag; tests give stand-ins.
    """

    def __init__(
        self,
        models: Sequence[Path],
        config: BatchConfig,
        address: str = LOCAL,
        judge: Judge = judge_bag,
    ) -> None:
        self._config = config
        self._models = [str(Path(model).absolute()) for model in models]
        self._judge = judge
        connect(address)
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
        self._seats = [_Seat() for _ in range(config.workers)]
        for seat in self._seats:
            self._start(seat)
        try:
            troubles = [
                result
                for result in ray.get([seat.starting for seat in self._seats], timeout=START_S)
                if result
            ]
        except RayError as error:
            self.stop()
            raise BagscanError(
                f"the cluster has no room for {config.workers} workers of one core each: {error}"
            ) from error
        if troubles:
            self.stop()
            raise ConfigError(f"the models cannot be used on the cluster: {troubles[0]}")
        for seat in self._seats:
            seat.starting = None

    def judge(self, bags: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[Answer]:
        """Judge bags side by side: (number, bag, answer), as they are done.

        Raises:
            BagscanError: no worker is left, and the cluster has had no room for another.
        """
        waiting = deque(_Given(number, bag) for number, bag in bags)
        while waiting or any(seat.given for seat in self._seats):
            self._hand_out(waiting)
            of = {reference: seat for seat in self._seats for reference in seat.references()}
            done, _ = ray.wait(list(of), num_returns=1, timeout=LOOK_S)
            for reference in done:
                seat = of[reference]
                if reference == seat.starting:
                    self._started(seat)
                else:
                    yield from self._answer(seat, reference, waiting)
            for seat in list(self._seats):
                yield from self._overdue(seat, waiting)

    def _hand_out(self, waiting: deque[_Given]) -> None:
        """Give every worker that is there what it judges, and the next one; nobody gets a second bag while another has none."""
        for ahead in range(1, AHEAD + 1):
            for seat in self._seats:
                if waiting and seat.starting is None and len(seat.given) < ahead:
                    seat.give(waiting.popleft())

    def _answer(self, seat: _Seat, reference: Any, waiting: deque[_Given]) -> Iterator[Answer]:
        """What came of a bag that is done with."""
        try:
            answer = ray.get(reference)
        except RayTaskError as error:  # of this bag alone: the worker lives
            answer = {
                "ok": False,
                "error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}",
                "code": ReasonCode.MODEL_FAILED,
            }
        except RayError as error:  # the process or its node is gone, or ran out of memory
            lost = self._emptied(seat, waiting)
            if lost.attempt < TRIES:
                waiting.appendleft(_Given(lost.number, lost.bag, lost.attempt + 1))
                return
            yield (
                lost.number,
                lost.bag,
                {
                    "ok": False,
                    "error": f"the process ended in the middle of its work, {TRIES} times: {type(error).__name__}",
                    "code": ReasonCode.NOT_FINISHED,
                },
            )
            return
        given = seat.taken(reference)
        yield given.number, given.bag, answer

    def _overdue(self, seat: _Seat, waiting: deque[_Given]) -> Iterator[Answer]:
        """Stop what takes too long, and say so; give up a worker for which there is no room."""
        if seat.starting is not None:
            if time.monotonic() - seat.since > START_S:
                self._seats.remove(seat)
                ray.kill(seat.actor)
                if not self._seats:
                    raise BagscanError(
                        f"the cluster has had no room for a worker for {START_S:g} s, and no other is left"
                    )
            return
        if (
            not seat.given
            or time.monotonic() - seat.since < self._config.timeout_s
            or ray.wait([seat.given[0].reference], timeout=0)[0]
        ):
            return
        late = self._emptied(seat, waiting)
        yield (
            late.number,
            late.bag,
            {
                "ok": False,
                "error": f"no answer within {self._config.timeout_s:g} s; the process was stopped",
                "code": ReasonCode.NOT_FINISHED,
            },
        )

    def _emptied(self, seat: _Seat, waiting: deque[_Given]) -> _Given:
        """Give a seat a new actor; what it had not begun with waits again, and what it was judging is returned."""
        first, *others = seat.given
        waiting.extendleft(reversed([_Given(one.number, one.bag, one.attempt) for one in others]))
        seat.given.clear()
        ray.kill(seat.actor)
        self._start(seat)
        return first

    def _start(self, seat: _Seat) -> None:
        """An actor that is to be ready; the others go on meanwhile."""
        seat.actor = self._actor.remote(self._models, self._judge, self._config.runtime)
        seat.starting, seat.since = seat.actor.ready.remote(), time.monotonic()

    def _started(self, seat: _Seat) -> None:
        """Look at one that says that it is ready, or another in its place: a node that has just died is offered as room for a while."""
        try:
            trouble = ray.get(seat.starting)
        except RayError as error:
            trouble = str(error)
        if not trouble:
            seat.starting = None
            return
        since = seat.since
        ray.kill(seat.actor)
        time.sleep(AGAIN_S)
        self._start(seat)
        seat.since = since  # it does not go on for ever

    def stop(self) -> None:
        """End the actors; the cluster stays."""
        for seat in self._seats:
            ray.kill(seat.actor)
        self._seats.clear()
