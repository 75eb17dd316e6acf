"""Screen an archive: parts of the index one after the other, bags of a part side by side, nothing lost and nothing twice.

Whatever is killed, the same line goes on: finished parts are there as Parquet, the part at work has its ledger, and the index
says what belongs to it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from bagscan.batch.index import count_index, index_hash, read_index, write_index
from bagscan.batch.rows import flat_row, write_part
from bagscan.batch.storage import claim, is_remote, publish
from bagscan.batch.task import judge_bags
from bagscan.core.errors import ConfigError
from bagscan.core.files import write_whole
from bagscan.formats.scans import VIEWS
from bagscan.model_folder import verified_id
from bagscan.reporting.findings import error_row
from bagscan.runtime.load import chosen_runtime
from bagscan.workers.process import Target, Worker, WorkerHung, WorkerLost

SAY_EVERY_S = 5.0
START_S = 300.0
Report = Callable[[str], None]


@dataclass(frozen=True)
class BatchConfig:
    """How an archive is screened.

    Attributes:
        workers: processes, each on one core. timeout_s: for one bag; over it its worker is stopped, and the bag an error row.
        part_size: bags a Parquet file. views: names of views, as they end files' names.
    """

    workers: int = 1
    timeout_s: float = 60.0
    part_size: int = 1000
    views: tuple[str, ...] = VIEWS

    def __post_init__(self) -> None:
        if min(self.workers, self.part_size) < 1 or self.timeout_s <= 0:
            raise ValueError("workers and part_size must be 1 or more, timeout_s above 0")


def prepare(sources: Sequence[str | Path], models: Sequence[Path], out: Path, config: BatchConfig, report: Report = print) -> int:
    """Write the index, or find the one that is there; returns how many bags it holds.

    Raises:
        ConfigError: ``out`` is another run's: other sources, models or sizes of parts; a source lies within another. DataError: no scans.
        ReadError: a whole simulated data set.
    """
    _refuse_doubles(sources)
    out.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {
        "sources": [str(source) if is_remote(source) else str(Path(source).absolute()) for source in sources],
        "models": [verified_id(model) for model in models],
        "runtimes": [chosen_runtime(model) for model in models],
        "part_size": config.part_size,
        "views": list(config.views),
    }
    path, index = out / "batch.json", out / "index.arrow"
    if path.is_file() and index.is_file():
        known = json.loads(path.read_text())
        differs = [key for key, value in about.items() if known.get(key) != value]
        if differs or known.get("index_sha256") != index_hash(index):
            raise ConfigError(f"{out} is another run's ({', '.join(differs) or 'its index was changed'}); give another --out")
        return int(known["bags"])
    count = write_index(about["sources"], index, config.views, report)  # absolute: other processes and nodes may stand elsewhere
    write_whole(path, json.dumps(about | {"bags": count, "index_sha256": index_hash(index)}, indent=1))
    report(f"index: {count:,} bags; judged by {', '.join(sorted(set(about['runtimes'])))}")
    return count


def _refuse_doubles(sources: Sequence[str | Path]) -> None:
    """Every bag of a source that lies within another would be two rows."""
    places = [str(source).rstrip("/") if is_remote(source) else str(Path(source).resolve()) for source in sources]
    for number, place in enumerate(places):
        for other in places[:number]:
            if f"{place}/".startswith(f"{other}/") or f"{other}/".startswith(f"{place}/"):
                raise ConfigError(f"{place} and {other}: bags of the one would be judged twice; name the outer one alone")


class Judges(Protocol):
    """What judges bags side by side: worker processes of this machine, or a cluster."""

    def judge(self, bags: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """(number, bag, answer), as they are done."""

    def stop(self) -> None:
        """End them."""


def screen_archive(out: Path, config: BatchConfig, pool: Judges, report: Report = print, to: str = "") -> dict[str, Any]:
    """Screen every part of a prepared archive that is not there yet; counts of all. The pool is stopped at the end.

    Args:
        to: URL of a folder in object storage that every finished part is copied to.
    """
    total, started = count_index(out / "index.arrow"), time.monotonic()
    if to:
        claim(to, out / "batch.json")
    progress = _Progress(total, report, started)
    try:
        for number, bags in missing_parts(out, config):
            screen_part(out, number, bags, config, pool, progress.step)
            if to:
                publish([part_path(out, number)], to)
    finally:
        pool.stop()
    if to:  # those of a run that was killed before it had copied them
        publish(sorted(out.glob("part-*.parquet")), to, missing_only=True)
    shutil.rmtree(out / "ledger", ignore_errors=True)
    runtime = ", ".join(sorted(set(json.loads((out / "batch.json").read_text())["runtimes"])))
    return tally(out) | {"bags": total, "runtime": runtime, "seconds": round(time.monotonic() - started, 1), "config": asdict(config), "out": str(out)}


def part_path(out: Path, number: int) -> Path:
    """Where a part lies once it is finished."""
    return out / f"part-{number:05d}.parquet"


def missing_parts(out: Path, config: BatchConfig) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Parts that are not finished, with their bags."""
    for number, bags in enumerate(read_index(out / "index.arrow", config.part_size)):
        if not part_path(out, number).is_file():
            yield number, bags


def screen_part(out: Path, number: int, bags: Sequence[dict[str, Any]], config: BatchConfig, pool: Judges, step: Callable[[int], None] = lambda n: None) -> None:
    """Judge a part's bags and write its Parquet; what a killed run judged of it is taken from its ledger."""
    first = number * config.part_size
    ledger = Ledger(out / "ledger" / f"part-{number:05d}.jsonl")
    known = ledger.read()
    todo = [(first + i, bag) for i, bag in enumerate(bags) if known.get(first + i, {}).get("stamp") != _stamp(bag)]
    step(len(bags) - len(todo))
    for index, bag, answer in pool.judge(todo):
        if answer["ok"]:
            row = flat_row(index, bag["bag"], answer["row"], answer["top_score"])
        else:
            path = bag["views"][0]["path"]
            row = flat_row(index, bag["bag"], error_row(Path(path), answer["error"]) | {"path": path}, None)
        ledger.add({"stamp": _stamp(bag), "row": row})
        known[index] = {"row": row}
        step(1)
    write_part(part_path(out, number), [known[first + i]["row"] for i in range(len(bags))])
    ledger.remove()


class Ledger:
    """Rows of a part at work, one JSON line each; a line that a kill cut off counts for nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[int, dict[str, Any]]:
        """Rows by number of the bag."""
        found: dict[int, dict[str, Any]] = {}
        if self.path.is_file():
            whole, _, torn = self.path.read_text().rpartition("\n")
            for line in whole.splitlines():
                entry = json.loads(line)
                found[entry["row"]["number"]] = entry
            if torn:  # so that what is added does not stand on its line
                self.path.write_text(whole + "\n" if whole else "")
        return found

    def add(self, entry: dict[str, Any]) -> None:
        """Add a row; it is on disk when this returns."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """The part is written."""
        self.path.unlink(missing_ok=True)


class Pool:
    """Worker processes that judge bags, each asked by a thread of its own."""

    def __init__(self, models: Sequence[Path], config: BatchConfig, target: Target = judge_bags) -> None:
        self._models, self._config, self._target = [str(Path(model).absolute()) for model in models], config, target
        self._workers: list[Worker | None] = [None] * config.workers

    def judge(self, bags: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Judge bags side by side: (number, bag, answer), as they are done."""
        waiting: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
        for item in bags:
            waiting.put(item)
        done: queue.SimpleQueue[tuple[int, dict[str, Any], dict[str, Any]] | BaseException] = queue.SimpleQueue()
        threads = [threading.Thread(target=self._serve, args=(slot, waiting, done), daemon=True) for slot in range(min(len(self._workers), len(bags)))]
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

    def _serve(self, slot: int, waiting: queue.SimpleQueue[tuple[int, dict[str, Any]]], done: queue.SimpleQueue[Any]) -> None:
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
        told = ""
        for _ in range(2):
            worker = self._workers[slot]
            if worker is None:
                worker = self._workers[slot] = Worker(self._target)
                answer = worker.ask({"kind": "warm", "models": [{"folder": folder, "threshold": None} for folder in self._models]}, START_S)
                if not answer["ok"]:
                    raise ConfigError(f"the models cannot be used: {answer['error']}")
            try:
                return worker.ask({"kind": "judge", "models": self._models, "views": bag["views"]}, self._config.timeout_s)
            except WorkerLost as error:
                self._workers[slot], told = None, str(error)
                if isinstance(error, WorkerHung):
                    break
        return {"ok": False, "error": told}


class _Progress:
    """Says how far an archive is, every few seconds."""

    def __init__(self, total: int, report: Report, started: float) -> None:
        self.total, self.report, self.started = total, report, started
        self.done, self._judged, self._said = 0, 0, started

    def step(self, count: int) -> None:
        self.done += count
        self._judged += count == 1
        now = time.monotonic()
        if now - self._said > SAY_EVERY_S:
            self._said = now
            rate = self._judged / (now - self.started)
            left = (self.total - self.done) / rate if rate else 0
            self.report(f"{self.done:,} of {self.total:,} bags, {rate:.1f} a second, {left / 60:.0f} min left")


def tally(out: Path) -> dict[str, Any]:
    """Counts over all parts, a column at a time."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    counts: dict[str, int] = {"ALARM": 0, "CLEAR": 0, "REVIEW": 0}
    errors = 0
    for batch in ds.dataset(sorted(str(path) for path in out.glob("part-*.parquet"))).to_batches(columns=["decision", "error"]):
        for entry in pc.value_counts(batch["decision"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
        errors += len(batch) - batch["error"].null_count
    return counts | {"errors": errors}


def _stamp(bag: dict[str, Any]) -> str:
    """What changes when a file does, without reading it; a file that is gone has none."""
    told = []
    for view in bag["views"]:
        if view.get("stamp"):
            told.append(view["stamp"])
            continue
        try:
            known = os.stat(view["path"])
            told.append(f"{known.st_size} {known.st_mtime_ns}")
        except OSError:
            told.append("gone")
    return " ".join(told)
