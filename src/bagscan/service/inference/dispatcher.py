"""Threads that take jobs and have worker processes do them: one thread a worker, restarted when it is lost, one retry.

A scan that cannot be judged ends as an error row of decision ``REVIEW``: never silent, never ``CLEAR``.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bagscan.core import Reason, ReasonCode
from bagscan.core.errors import BagscanError
from bagscan.reporting.findings import error_row, reasons_in_row
from bagscan.service.clock import Clock
from bagscan.service.inference import jobs
from bagscan.service.inference.drift import Drift
from bagscan.service.inference.jobs import Job
from bagscan.service.inference.models import Serving, serving
from bagscan.service.metrics import Metrics
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store, StoreError
from bagscan.service.store.files import Files
from bagscan.workers.process import Target, Worker, WorkerLost

log = logging.getLogger("bagscan.service")
WARM_UP_S = 300.0
SERVING_S = 1.0
IDLE_S = 1.0
MAX_WAIT_S = 5.0  # between two tries to start a worker


class Dispatcher:
    """Owns the worker processes.

    Args:
        clock: of the service, by which leases of jobs run out.
        instance: name of this service; what it ran when it was killed is its own to take up again.
        target: what a worker process runs.
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
        self.store, self.files, self.config, self.metrics, self.instance, self._target = (
            store,
            files,
            config,
            metrics,
            instance,
            target,
        )
        self._clock = clock
        self.drift = Drift(config.drift_window)
        self._stopping = threading.Event()
        self._awake = threading.Semaphore(0)
        self._tasks: queue.SimpleQueue[tuple[dict[str, Any], float, Future[dict[str, Any]]]] = (
            queue.SimpleQueue()
        )
        self._listeners: dict[str, Callable[[dict[str, Any]], object]] = {}
        self.last_serving: tuple[list[Serving], list[Serving]] = ([], [])
        self._serving_at = -SERVING_S
        self._lock = threading.Lock()
        self._workers: list[Worker | None] = [None] * config.workers
        self._doing: list[str | None] = [None] * config.workers
        self._threads: list[threading.Thread] = []
        self.trouble = "workers are starting"

    def start(self) -> None:
        """Take up what a kill left, and start the workers."""
        left = self.store.write(lambda connection: jobs.give_back(connection, self.instance))
        if left:
            log.info(
                "%d scans were being judged when the service ended: they are queued again", left
            )
        with self.store.read() as connection:
            for one in serving(connection):
                self.drift.load(connection, one.model_id)
        for slot in range(self.config.workers):
            thread = threading.Thread(
                target=self._serve, args=(slot,), daemon=True, name=f"dispatcher {slot}"
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop taking jobs and end the workers; a job that runs is queued again at the next start."""
        self._stopping.set()
        for _ in self._threads:
            self._awake.release()
        for worker in self._workers:
            if worker is not None:
                worker.stop()
        for thread in self._threads:
            thread.join(10)

    @property
    def ready(self) -> bool:
        """Whether a worker has screened its warm-up scan and lives."""
        return any(self._workers)

    @property
    def lease_s(self) -> float:
        """After which a job that runs belongs to nobody any more: all its tries, and the start of a worker for each, would be over."""
        return jobs.MAX_ATTEMPTS * (self.config.screen_timeout_s + WARM_UP_S)

    def worker_pids(self) -> list[int]:
        """Of the workers that live."""
        return [worker.pid for worker in self._workers if worker is not None and worker.pid]

    def wake(self) -> None:
        """Say that a job waits."""
        self._awake.release()

    def when_done(self, job_id: str, call: Callable[[dict[str, Any]], object]) -> None:
        """Call, on a thread of this class and with its row, once a job is done here; to be said before the job is accepted."""
        with self._lock:
            self._listeners[job_id] = call

    def forget(self, job_id: str) -> None:
        """Call nobody for this job any more."""
        with self._lock:
            self._listeners.pop(job_id, None)

    def serving(self) -> tuple[list[Serving], list[Serving]]:
        """Active models and shadows; as they were a second ago at most, and at once after :meth:`models_changed`."""
        if time.monotonic() - self._serving_at > SERVING_S:
            with self.store.read() as connection:
                self.last_serving = serving(connection), serving(connection, "shadow")
            self._serving_at = time.monotonic()
        return self.last_serving

    def models_changed(self) -> None:
        """Look anew which models serve: another service on the same store is a second behind at most."""
        self._serving_at = -SERVING_S

    def ask(self, task: dict[str, Any], timeout_s: float) -> Future[dict[str, Any]]:
        """Have a worker do something else than a job."""
        future: Future[dict[str, Any]] = Future()
        self._tasks.put((task, timeout_s, future))
        self._awake.release()
        return future

    def _serve(self, slot: int) -> None:
        try:
            self._serve_until_stopped(slot)
        finally:
            worker = self._workers[slot]
            if worker is not None:  # one that was starting when the others were stopped
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
                    self._workers[slot] = self._started()
                    self.trouble, failures = "a worker is being replaced", 0
                if not self._one(slot):
                    self._awake.acquire(timeout=IDLE_S)
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
            except Exception:  # a slot that dies in silence would take no job any more
                log.exception("worker %d", slot)
                self._stopping.wait(1)

    def _started(self) -> Worker:
        worker = Worker(self._target)
        self.metrics.worker_starts.inc()
        models, _ = self.serving()
        answer = worker.ask(
            {"kind": "warm", "models": [one.task(self.config.models_folder) for one in models]},
            WARM_UP_S,
        )
        if not answer["ok"]:
            worker.stop()
            raise WorkerLost(f"the warm-up failed: {answer['error']}")
        return worker

    def _put_back(self, slot: int) -> None:
        """Queue again what this slot was at when something unforeseen came between, for example a store that did not answer."""
        job_id = self._doing[slot]
        if job_id is not None:
            self.store.write(lambda connection: jobs.put_back(connection, job_id))
            self._doing[slot] = None

    def _worker(self, slot: int) -> Worker:
        worker = self._workers[slot]
        if worker is None:
            raise WorkerLost("no process")
        return worker

    def _one(self, slot: int) -> bool:
        """Do one thing, if there is any; one job leads to the next."""
        if self._other_task(slot):
            return True
        job = self.store.write(
            lambda connection: jobs.take(connection, self.instance, self.lease_s, self._clock.now())
        )
        if job is None:
            return False
        while job is not None:
            job = self._do(slot, job)
            if job is None:
                self._other_task(slot)
        return True

    def _shadow(self, slot: int, job: Job, task: dict[str, Any], shadows: list[Serving]) -> None:
        """Have shadow models judge a scan after its verdict is written; whatever they do, nobody acts on it."""
        if not shadows:
            return
        try:
            answer = self._worker(slot).ask(
                {
                    **task,
                    "kind": "shadow",
                    "shadows": [one.task(self.config.models_folder) for one in shadows],
                },
                self.config.screen_timeout_s,
            )
            summary = answer.get("shadows", []) if answer["ok"] else []
            for one in summary:
                self.store.write(
                    lambda connection, one=one: jobs.keep_shadow(connection, job.scan_id, one)
                )  # type: ignore[misc]
            errors = [answer["error"]] if not answer["ok"] else answer["errors"]
        except WorkerLost as error:
            self._workers[slot], errors = None, [str(error)]
        except StoreError as error:
            errors = [str(error)]
        for reason in errors:
            log.error("a shadow model did not judge scan %s: %s", job.scan_id, reason)

    def _other_task(self, slot: int) -> bool:
        try:
            task, timeout_s, future = self._tasks.get_nowait()
        except queue.Empty:
            return False
        try:
            future.set_result(self._worker(slot).ask(task, timeout_s))
        except WorkerLost as error:
            future.set_exception(error)
            raise
        return True

    def _do(self, slot: int, job: Job) -> Job | None:
        """Judge a scan, with one retry in a new process, and write what came of it; the next job, taken in the same transaction."""
        started = time.perf_counter()
        self._doing[slot] = job.id
        active, shadows = self.serving()
        task = {
            "kind": "screen",
            "files": {file["name"]: str(self.files.path(file["sha256"])) for file in job.files},
            "models": [one.task(self.config.models_folder) for one in active],
            "objects": str(self.files.folder),
            "scanner_views": list(self.config.scanner_views),
        }
        answer: dict[str, Any] = {
            "ok": False,
            "error": "not tried",
            "code": ReasonCode.NOT_FINISHED,
        }
        lost: WorkerLost | None = None
        for attempt in range(jobs.MAX_ATTEMPTS):
            if (
                job.attempts > jobs.MAX_LEASES
            ):  # whatever it is that comes between, it comes every time
                answer = {
                    "ok": False,
                    "error": f"taken up {job.attempts} times and never done",
                    "code": ReasonCode.NOT_FINISHED,
                }
                break
            if attempt:
                self.metrics.retries.inc()
                self.store.write(lambda connection: jobs.tried_again(connection, job.id))
            try:
                if lost is not None:
                    self._workers[slot], lost = self._started(), None
                answer = checked_answer(self._worker(slot).ask(task, self.config.screen_timeout_s))
            except WorkerLost as error:
                if self._stopping.is_set():
                    raise
                self._workers[slot], lost, answer = (
                    None,
                    error,
                    {"ok": False, "error": str(error), "code": ReasonCode.NOT_FINISHED},
                )
            if answer["ok"] or answer.get("refused"):
                break
        seconds = time.perf_counter() - started
        while True:
            try:
                following = self._keep(
                    job,
                    answer,
                    seconds,
                    more=lost is None and self._tasks.empty() and not self._stopping.is_set(),
                )
                break
            except (
                StoreError
            ) as error:  # one that is full or gone is asked again until it takes the result
                self.trouble = str(error)
                log.error("the result of scan %s is not kept yet: %s", job.scan_id, error)
                if self._stopping.wait(IDLE_S):
                    return None
        self._doing[slot] = following.id if following else None
        if lost is not None:
            raise lost
        if answer["ok"]:
            self._shadow(slot, job, task, shadows)
        return following

    def _keep(self, job: Job, answer: dict[str, Any], seconds: float, more: bool) -> Job | None:
        row = (
            answer["row"]
            if answer["ok"]
            else error_row(Path(job.source_id), answer["error"], ReasonCode(answer["code"]))
            | {"refused": bool(answer.get("refused"))}
        )
        row = self._doubted(job, row)
        top = answer.get("stats", {}).get("top_score")
        review = (
            self.config.reviewed == "all" or row["decision"] != "CLEAR"
        )  # test images alike, or their being there would tell
        artifacts = answer.get("artifacts", {})

        def write(connection: Connection) -> tuple[bool, Job | None]:
            written = jobs.finish(connection, job, row, artifacts, seconds, top, review)
            return written, jobs.take(
                connection, self.instance, self.lease_s, self._clock.now()
            ) if more else None

        written, following = self.store.write(write)
        if written:
            self.metrics.screened.labels(row["decision"], "error" if not answer["ok"] else "").inc()
            self.metrics.screen_seconds.observe(seconds)
            if top is not None and row.get("model_id") and not job.is_tip:
                self.drift.add(row["model_id"], top)
        with self._lock:
            listener = self._listeners.pop(job.id, None)
        if listener is not None:
            listener(jobs.answered_row(job.scan_id, row))
        return following

    def _doubted(self, job: Job, row: dict[str, Any]) -> dict[str, Any]:
        """The row as REVIEW where scanner or scores are not those that the service knows."""
        known = self.config.known_scanners
        reasons = (
            [
                Reason(
                    ReasonCode.UNKNOWN_SCANNER,
                    f"unknown scanner {job.scanner!r}; known: {', '.join(known)}",
                )
            ]
            if known and job.scanner not in known
            else []
        )
        drifted = self.drift.reason(row.get("model_id", ""))
        if drifted and row["decision"] == "CLEAR":
            reasons.append(Reason(ReasonCode.DRIFT, drifted))
        added = reasons_in_row(reasons)
        return (
            row
            | {"decision": "REVIEW"}
            | {key: [*row.get(key, []), *summary] for key, summary in added.items()}
            if reasons
            else row
        )


def checked_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """A worker's answer, or an error in its place where it is not whole: what says nothing must not pass as CLEAR."""
    if not answer.get("ok"):
        summary = {
            "error": str(answer.get("error", "the worker gave no reason")),
            "code": answer.get("code", ReasonCode.MODEL_FAILED),
        }
        return {"ok": False, **summary, "refused": bool(answer.get("refused"))}
    row, top = answer.get("row"), (answer.get("stats") or {}).get("top_score")
    wrong = ""
    if (
        not isinstance(row, dict)
        or not {"decision", "reasons", "findings", "views"} <= set(row)
        or row["decision"] not in jobs.PRIORITY
        or (isinstance(top, float) and not 0 <= top <= 1)
    ):
        wrong = (
            "the model's answer is not one: decision, findings or scores are missing or no numbers"
        )
    elif row["decision"] == "CLEAR" and (row["findings"] or not row["views"]):
        wrong = "the model's answer contradicts itself: CLEAR with findings, or of no view"
    if wrong:
        return {"ok": False, "error": wrong, "code": ReasonCode.MODEL_FAILED}
    return answer
