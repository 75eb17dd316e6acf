"""Screening of bags by the actors of a Ray cluster, in place of local worker processes.

An actor that dies is replaced, on another node if necessary, and its bag is screened again. The
calling process writes all rows, to the same ledger and parts as without a cluster. So no row is
lost or repeated, and the files are identical to those of a single machine.
"""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bagscan.batch.run import BatchConfig
from bagscan.batch.task import score_bag
from bagscan.cluster.connection import LOCAL, connect
from bagscan.core import ReasonCode
from bagscan.core.errors import BagscanError, ConfigError
from bagscan.runtime.load import VARIABLE
from bagscan.workers.screeners import screener, try_out
from bagscan.workers.tasks import answer_or_error

ScreenBag = Callable[[list[str], list[dict[str, str]], list[str], list[str]], dict[str, Any]]
Answer = tuple[int, dict[str, Any], dict[str, Any]]  # number, bag, answer
MAX_ATTEMPTS = 3  # attempts at a bag
LOOK_S = 0.5  # between two checks for overdue bags
START_S = 300.0
AGAIN_S = 1.0  # before an actor that failed to start is started again
AHEAD = 2  # bags that an actor has at a time, so that it does not wait for the next one


class _Actor:
    """Process on a node, which loads the models once and screens one bag at a time."""

    def __init__(self, models: list[str], screen_bag: ScreenBag, runtime: str | None) -> None:
        self._models, self._screen_bag, self._runtime = models, screen_bag, runtime

    def ready(self) -> str:
        """Test the models on a synthetic scan; return the error message, or an empty string."""
        if self._screen_bag is not score_bag:  # a stand-in of the tests
            return ""
        try:
            for folder in self._models:
                try_out(screener(folder, runtime=self._runtime))
        except BagscanError as error:
            return str(error)
        return ""

    def screen(
        self, views: list[dict[str, str]], expected: list[str], ids: list[str]
    ) -> dict[str, Any]:
        screen_bag = (
            functools.partial(score_bag, runtime=self._runtime)
            if self._screen_bag is score_bag
            else self._screen_bag
        )
        return answer_or_error(screen_bag, self._models, views, expected, ids)


@dataclass
class _Assignment:
    """A bag in progress.

    Attributes:
        number: of the bag in the run.
        bag: its views, expected views and model ids.
        attempt: number of the attempt, from 1.
        reference: Ray's reference to the answer; None before the bag is assigned to an actor.
    """

    number: int
    bag: dict[str, Any]
    attempt: int = 1
    reference: Any = None


@dataclass
class _Seat:
    """Slot for an actor.

    Attributes:
        actor: the present actor.
        starting: Ray's reference to the result of ``ready``; None once the actor is ready.
        assigned: bags of the actor, in the order in which it screens them.
        since: monotonic time at which the actor was started, or began the first of its bags.
    """

    actor: Any = None
    starting: Any = None
    assigned: deque[_Assignment] = field(default_factory=deque)
    since: float = 0.0

    def references(self) -> list[Any]:
        """Return the references to wait for."""
        if self.starting is not None:
            return [self.starting]
        return [item.reference for item in self.assigned]

    def assign(self, item: _Assignment) -> None:
        bag = item.bag
        item.reference = self.actor.screen.remote(bag["views"], bag["expected"], bag["ids"])
        self.since = self.since if self.assigned else time.monotonic()
        self.assigned.append(item)

    def take_finished(self, reference: Any) -> _Assignment:
        """Remove and return a finished bag; the actor has begun the next one."""
        (item,) = (assigned for assigned in self.assigned if assigned.reference == reference)
        self.assigned.remove(item)
        self.since = time.monotonic()
        return item


class RayPool:
    """Variant of :class:`bagscan.batch.pool.Pool` that runs on a Ray cluster.

    All nodes must be able to read the scans and models.

    Args:
        models: model folders.
        config: settings of the run.
        address: as in :func:`bagscan.cluster.connection.connect`.
        screen_bag: function that screens a bag; tests pass stand-ins.

    Raises:
        BagscanError: the cluster lacks resources for the workers.
        ConfigError: a model cannot be used on the cluster.
    """

    def __init__(
        self,
        models: Sequence[Path],
        config: BatchConfig,
        address: str = LOCAL,
        screen_bag: ScreenBag = score_bag,
    ) -> None:
        self._config = config
        self._models = [str(Path(model).absolute()) for model in models]
        self._screen_bag = screen_bag
        # Actors do not inherit the environment of this process.
        self._runtime = config.runtime or os.environ.get(VARIABLE)
        connect(address)
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
        self._seats = [_Seat() for _ in range(config.workers)]
        for seat in self._seats:
            self._start(seat)
        try:
            messages = ray.get([seat.starting for seat in self._seats], timeout=START_S)
        except RayError as error:
            self.stop()
            raise BagscanError(
                f"the cluster cannot run {config.workers} workers of one core each: {error}"
            ) from error
        errors = [message for message in messages if message]
        if errors:
            self.stop()
            raise ConfigError(f"the models cannot be used on the cluster: {errors[0]}")
        for seat in self._seats:
            seat.starting = None

    def screen(self, bags: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[Answer]:
        """Screen bags in parallel.

        Args:
            bags: number and description of each bag.

        Yields:
            Number, bag and answer of each bag when it is finished.

        Raises:
            BagscanError: no worker is left, and the cluster does not start another.
        """
        waiting = deque(_Assignment(number, bag) for number, bag in bags)
        while waiting or any(seat.assigned for seat in self._seats):
            self._hand_out(waiting)
            seats = {reference: seat for seat in self._seats for reference in seat.references()}
            done, _ = ray.wait(list(seats), num_returns=1, timeout=LOOK_S)
            for reference in done:
                seat = seats[reference]
                if reference == seat.starting:
                    self._check_start(seat)
                else:
                    yield from self._answer(seat, reference, waiting)
            for seat in list(self._seats):
                yield from self._stop_overdue(seat, waiting)

    def _hand_out(self, waiting: deque[_Assignment]) -> None:
        """Give each ready actor a bag, and then each a second one, as long as bags are waiting."""
        for ahead in range(1, AHEAD + 1):
            for seat in self._seats:
                if waiting and seat.starting is None and len(seat.assigned) < ahead:
                    seat.assign(waiting.popleft())

    def _answer(self, seat: _Seat, reference: Any, waiting: deque[_Assignment]) -> Iterator[Answer]:
        """Yield the answer of a finished bag, unless the bag is to be screened again."""
        try:
            answer = ray.get(reference)
        except RayTaskError as error:  # the bag failed, the actor is alive
            answer = {
                "ok": False,
                "error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}",
                "code": ReasonCode.MODEL_FAILED,
            }
        except RayError as error:  # the process or its node ended, or ran out of memory
            lost = self._replace_actor(seat, waiting)
            if lost.attempt < MAX_ATTEMPTS:
                waiting.appendleft(_Assignment(lost.number, lost.bag, lost.attempt + 1))
                return
            name = type(error).__name__
            answer = {
                "ok": False,
                "error": (
                    f"the process ended in the middle of its work, {MAX_ATTEMPTS} times: {name}"
                ),
                "code": ReasonCode.NOT_FINISHED,
            }
            yield lost.number, lost.bag, answer
            return
        assigned = seat.take_finished(reference)
        yield assigned.number, assigned.bag, answer

    def _stop_overdue(self, seat: _Seat, waiting: deque[_Assignment]) -> Iterator[Answer]:
        """Yield an error for a bag that takes too long; remove an actor that does not start.

        Raises:
            BagscanError: the last actor does not start.
        """
        if seat.starting is not None:
            if time.monotonic() - seat.since > START_S:
                self._seats.remove(seat)
                ray.kill(seat.actor)
                if not self._seats:
                    raise BagscanError(
                        f"the cluster did not start a worker within {START_S:g} s, "
                        "and no other worker is left"
                    )
            return
        if (
            not seat.assigned
            or time.monotonic() - seat.since < self._config.timeout_s
            or ray.wait([seat.assigned[0].reference], timeout=0)[0]
        ):
            return
        late = self._replace_actor(seat, waiting)
        answer = {
            "ok": False,
            "error": f"no answer within {self._config.timeout_s:g} s; the process was stopped",
            "code": ReasonCode.NOT_FINISHED,
        }
        yield late.number, late.bag, answer

    def _replace_actor(self, seat: _Seat, waiting: deque[_Assignment]) -> _Assignment:
        """Start a new actor; requeue the bags that the old one had not begun, return the first."""
        first, *rest = seat.assigned
        requeued = [_Assignment(item.number, item.bag, item.attempt) for item in rest]
        waiting.extendleft(reversed(requeued))
        seat.assigned.clear()
        ray.kill(seat.actor)
        self._start(seat)
        return first

    def _start(self, seat: _Seat) -> None:
        """Start an actor without waiting for it."""
        seat.actor = self._actor.remote(self._models, self._screen_bag, self._runtime)
        seat.starting, seat.since = seat.actor.ready.remote(), time.monotonic()

    def _check_start(self, seat: _Seat) -> None:
        """Mark an actor as ready, or start another one if it failed.

        Ray still schedules actors on a node for a while after the node has died.
        """
        try:
            message = ray.get(seat.starting)
        except RayError as error:
            message = str(error)
        if not message:
            seat.starting = None
            return
        since = seat.since
        ray.kill(seat.actor)
        time.sleep(AGAIN_S)
        self._start(seat)
        seat.since = since  # START_S limits all attempts together

    def stop(self) -> None:
        """End the actors. The cluster keeps running."""
        for seat in self._seats:
            ray.kill(seat.actor)
        self._seats.clear()
