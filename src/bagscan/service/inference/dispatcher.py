"""Dispatch of jobs to worker processes.

Each worker process has a thread, which restarts it when it is lost and retries a failed job once.
A scan that cannot be screened gets an error row with decision ``REVIEW``; it is never dropped and
never ``CLEAR``.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection

from bagscan.core.errors import BagscanError
from bagscan.service.clock import Clock
from bagscan.service.inference import jobs
from bagscan.service.inference.answers import checked_answer, unfinished_answer
from bagscan.service.inference.drift import Drift
from bagscan.service.inference.jobs import Job
from bagscan.service.inference.models import Serving, serving
from bagscan.service.inference.results import Results
from bagscan.service.metrics import Metrics
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store, StoreError
from bagscan.service.store.files import Files
from bagscan.workers.process import Target, Worker, WorkerLost

log = logging.getLogger("bagscan.service")
WARM_UP_S = 300.0
SERVING_S = 1.0  # age at which the list of serving models is read again
IDLE_S = 1.0
MAX_WAIT_S = 5.0  # between two attempts to start a worker


class Dispatcher:
    """Owner of the worker processes.

    Args:
        clock: the service's clock, which measures the leases of jobs.
        instance: name of this service; at its start it requeues the jobs that it ran when killed.
        target: function that a worker process runs.

    Attributes:
        drift: score drift of the models.
        last_serving: active and shadow models, as last read from the store.
        trouble: why no worker is ready, as last reported.
    """

    def __init__(
        self,
        store: Store,
        files: Files,
        config: ServiceConfig,
        metrics: Metrics,
        clock: Clock,
        instance: str,
        target: Target,
    ) -> None:
        self.store = store
        self.files = files
        self.config = config
        self.metrics = metrics
        self.instance = instance
        self._target = target
        self._clock = clock
        self.drift = Drift(config.drift_window)
        self._results = Results(store, config, metrics, self.drift)
        self._stopping = threading.Event()
        self._wakeups = threading.Semaphore(0)
        self._tasks: queue.SimpleQueue[tuple[dict[str, Any], float, Future[dict[str, Any]]]] = (
            queue.SimpleQueue()
        )
        self.last_serving: tuple[list[Serving], list[Serving]] = ([], [])
        self._serving_at = -SERVING_S
        self._workers: list[Worker | None] = [None] * config.workers
        self._job_ids: list[str | None] = [None] * config.workers
        self._threads: list[threading.Thread] = []
        self.trouble = "workers are starting"

    def start(self) -> None:
        """Requeue the jobs that ran when the service was killed, and start the workers."""
        n_requeued = self.store.write(
            lambda connection: jobs.requeue_all(connection, self.instance)
        )
        if n_requeued:
            log.info("requeued %d scans whose screening was interrupted", n_requeued)
        with self.store.read() as connection:
            for model in serving(connection):
                self.drift.load(connection, model.model_id)
        for slot in range(self.config.workers):
            thread = threading.Thread(
                target=self._serve, args=(slot,), daemon=True, name=f"dispatcher {slot}"
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop taking jobs and end the workers. Running jobs are requeued at the next start."""
        self._stopping.set()
        for _ in self._threads:
            self._wakeups.release()
        for worker in self._workers:
            if worker is not None:
                worker.stop()
        for thread in self._threads:
            thread.join(10)

    @property
    def ready(self) -> bool:
        """True if a worker has passed its warm-up."""
        return any(self._workers)

    @property
    def lease_s(self) -> float:
        """Seconds that a job takes at most; then another service can take it over."""
        return jobs.MAX_TRIES_PER_LEASE * (self.config.screen_timeout_s + WARM_UP_S)

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [worker.pid for worker in self._workers if worker is not None and worker.pid]

    def wake(self) -> None:
        """Wake a thread because a job is waiting."""
        self._wakeups.release()

    def when_done(self, job_id: str, call: Callable[[dict[str, Any]], object]) -> None:
        """Call ``call(row)`` when this dispatcher has finished a job.

        Register the call before the job is accepted. It runs on a dispatcher thread.
        """
        self._results.when_done(job_id, call)

    def forget(self, job_id: str) -> None:
        """Remove the call registered for a job."""
        self._results.forget(job_id)

    def serving(self) -> tuple[list[Serving], list[Serving]]:
        """Return the active and the shadow models.

        Changes by another service on the same store appear within a second.
        """
        if time.monotonic() - self._serving_at > SERVING_S:
            with self.store.read() as connection:
                self.last_serving = serving(connection), serving(connection, "shadow")
            self._serving_at = time.monotonic()
        return self.last_serving

    def models_changed(self) -> None:
        """Read the serving models from the store at the next use."""
        self._serving_at = -SERVING_S

    def ask(self, task: dict[str, Any], timeout_s: float) -> Future[dict[str, Any]]:
        """Queue a task that is not a job for the next free worker.

        Returns:
            The worker's answer. The future raises :class:`WorkerLost` if the worker is lost.
        """
        future: Future[dict[str, Any]] = Future()
        self._tasks.put((task, timeout_s, future))
        self._wakeups.release()
        return future

    def _serve(self, slot: int) -> None:
        try:
            self._serve_until_stopped(slot)
        finally:
            worker = self._workers[slot]
            if worker is not None:  # it was still starting when stop() ended the others
                worker.stop()

    def _serve_until_stopped(self, slot: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._put_back(slot)
                worker = self._workers[slot]
                if worker is not None and not worker.alive:
                    self._workers[slot] = None
                    log.error("worker %d: the process is gone", slot)
                if self._workers[slot] is None:
                    self._workers[slot] = self._start_worker()
                    self.trouble, failures = "a worker is being replaced", 0
                if not self._work(slot):
                    self._wakeups.acquire(timeout=IDLE_S)
            except (BagscanError, OSError) as error:
                if self._stopping.is_set():
                    return
                failures += (
                    isinstance(error, WorkerLost | StoreError) or self._workers[slot] is None
                )
                if isinstance(error, WorkerLost):
                    self._workers[slot] = None
                self.trouble = str(error)
                log.error("worker %d: %s", slot, error)
                self._stopping.wait(min(MAX_WAIT_S, 0.1 * 2**failures) if failures > 1 else 0)
            except Exception:  # a slot whose thread ended would take no more jobs
                log.exception("worker %d", slot)
                self._stopping.wait(1)

    def _start_worker(self) -> Worker:
        worker = Worker(self._target)
        self.metrics.worker_starts.inc()
        active, _ = self.serving()
        answer = worker.ask(
            {"kind": "warm", "models": [m.task(self.config.models_folder) for m in active]},
            WARM_UP_S,
        )
        if not answer["ok"]:
            worker.stop()
            raise WorkerLost(f"the warm-up failed: {answer['error']}")
        return worker

    def _put_back(self, slot: int) -> None:
        """Requeue the job of a slot that an unexpected error interrupted."""
        job_id = self._job_ids[slot]
        if job_id is not None:
            self.store.write(lambda connection: jobs.requeue(connection, job_id))
            self._job_ids[slot] = None

    def _get_worker(self, slot: int) -> Worker:
        worker = self._workers[slot]
        if worker is None:
            raise WorkerLost("no worker process is running")
        return worker

    def _work(self, slot: int) -> bool:
        """Run a task, or jobs until none is waiting. Return False if there was nothing to do."""
        if self._run_task(slot):
            return True
        job = self.store.write(self._take)
        if job is None:
            return False
        while job is not None:
            job = self._run_job(slot, job)
            if job is None:
                self._run_task(slot)
        return True

    def _take(self, connection: Connection) -> Job | None:
        return jobs.take(connection, self.instance, self.lease_s, self._clock.now())

    def _run_task(self, slot: int) -> bool:
        try:
            task, timeout_s, future = self._tasks.get_nowait()
        except queue.Empty:
            return False
        try:
            future.set_result(self._get_worker(slot).ask(task, timeout_s))
        except WorkerLost as error:
            future.set_exception(error)
            raise
        return True

    def _run_job(self, slot: int, job: Job) -> Job | None:
        """Screen a scan, store its result, and return the next job if it was taken with it."""
        started = time.perf_counter()
        self._job_ids[slot] = job.id
        active, shadows = self.serving()
        task = {
            "kind": "screen",
            "files": {file["name"]: str(self.files.path(file["sha256"])) for file in job.files},
            "models": [model.task(self.config.models_folder) for model in active],
            "objects": str(self.files.folder),
            "scanner_views": list(self.config.scanner_views),
        }
        answer, lost = self._screen(slot, job, task)
        seconds = time.perf_counter() - started
        while True:
            take_next = lost is None and self._tasks.empty() and not self._stopping.is_set()
            try:
                following = self._results.write(
                    job, answer, seconds, self._take if take_next else None
                )
                break
            except StoreError as error:  # the store may have space or be back later
                self.trouble = str(error)
                log.error("the result of scan %s is not stored yet: %s", job.scan_id, error)
                if self._stopping.wait(IDLE_S):
                    return None
        self._job_ids[slot] = following.id if following else None
        if lost is not None:
            raise lost
        if answer["ok"]:
            self._run_shadows(slot, job, task, shadows)
        return following

    def _screen(
        self, slot: int, job: Job, task: dict[str, Any]
    ) -> tuple[dict[str, Any], WorkerLost | None]:
        """Have a scan screened, with one retry, in a new process if the first was lost.

        Returns:
            The checked answer, and the error if the slot is left without a worker.
        """
        if job.attempts > jobs.MAX_ATTEMPTS:  # the same fault interrupts every attempt
            return unfinished_answer(f"started {job.attempts} times and never finished"), None
        answer = unfinished_answer("not tried")
        lost: WorkerLost | None = None
        for attempt in range(jobs.MAX_TRIES_PER_LEASE):
            if attempt:
                self.metrics.retries.inc()
                self.store.write(lambda connection: jobs.count_attempt(connection, job.id))
            try:
                if lost is not None:
                    self._workers[slot] = self._start_worker()
                    lost = None
                worker = self._get_worker(slot)
                answer = checked_answer(worker.ask(task, self.config.screen_timeout_s))
            except WorkerLost as error:
                if self._stopping.is_set():
                    raise
                self._workers[slot] = None
                answer, lost = unfinished_answer(str(error)), error
            if answer["ok"] or answer.get("refused"):
                break
        return answer, lost

    def _run_shadows(
        self, slot: int, job: Job, task: dict[str, Any], shadows: list[Serving]
    ) -> None:
        """Screen a scan with the shadow models, after its verdict is stored. Errors are logged."""
        if not shadows:
            return
        models = [model.task(self.config.models_folder) for model in shadows]
        try:
            answer = self._get_worker(slot).ask(
                {**task, "kind": "shadow", "shadows": models}, self.config.screen_timeout_s
            )
            for verdict in answer.get("shadows", []) if answer["ok"] else []:
                self._results.write_shadow(job.scan_id, verdict)
            errors = [answer["error"]] if not answer["ok"] else answer["errors"]
        except WorkerLost as error:
            self._workers[slot] = None
            errors = [str(error)]
        except StoreError as error:
            errors = [str(error)]
        for reason in errors:
            log.error("a shadow model did not screen scan %s: %s", job.scan_id, reason)
