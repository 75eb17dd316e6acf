"""Screen an archive: parts of the index one after the other, bags of a part side by side, nothing lost and nothing twice.

Whatever is killed, the same line goes on: finished parts are there as Parquet, the part at work has its ledger, and the index
says what belongs to it.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from bagscan.batch.index import count_index, index_hash, read_index, write_index
from bagscan.batch.ledger import Ledger
from bagscan.batch.rows import flat_row, write_part
from bagscan.batch.storage import absolute, claim, publish, same_place
from bagscan.core import ReasonCode
from bagscan.core.errors import ConfigError, DataError, UnavailableError
from bagscan.core.files import LOCK, atomic_write_text, held, refuse_file
from bagscan.formats.scans import VIEWS, expected_of, stamp_of
from bagscan.model_folder import verified_id
from bagscan.reporting.findings import error_row
from bagscan.runtime.load import chosen_runtime

SAY_EVERY_S, MAX_ERRORS = 5.0, 10
# Readers of a whole folder of Parquet pass over names that begin so.
INDEX, ABOUT, LEDGER = "_index.arrow", "_batch.json", "_ledger"
Report = Callable[[str], None]


@dataclass(frozen=True)
class BatchConfig:
    """How an archive is screened.

    Attributes:
        workers: processes, each on one core. timeout_s: for one bag; over it its worker is stopped, and the bag an error row.
        part_size: bags a Parquet file. views: names of views, as they end files' names.
        scanner_views: that the scanner makes of every bag; empty for those that any bag of the archive has.
        runtime: as of :func:`bagscan.runtime.load.load_model`.
    """

    workers: int = 1
    timeout_s: float = 60.0
    part_size: int = 1000
    views: tuple[str, ...] = VIEWS
    scanner_views: tuple[str, ...] = ()
    runtime: str | None = None

    def __post_init__(self) -> None:
        if min(self.workers, self.part_size) < 1 or not 0 < self.timeout_s < math.inf:
            raise ConfigError(
                f"workers and part_size must be 1 or more, timeout a number of seconds above 0, got {self.workers}, {self.part_size} and {self.timeout_s}"
            )


def prepare(
    sources: Sequence[str | Path],
    models: Sequence[Path],
    out: Path,
    config: BatchConfig,
    report: Report = print,
) -> int:
    """Write the index, or find the one that is there; returns how many bags it holds.

    Raises:
        ConfigError: ``out`` is another run's: other sources, models or sizes of parts; a source lies within another; ``out`` is an address.
        DataError: no scans; ``out`` is a file. ReadError: a set that shows every bag twice.
    """
    places = [absolute(source) for source in sources]
    _refuse_doubles(places)
    about: dict[str, Any] = {
        "sources": places,
        "models": [verified_id(model) for model in models],
        "runtimes": [chosen_runtime(model) for model in models],
        "part_size": config.part_size,
        "views": list(config.views),
        "scanner_views": list(config.scanner_views),
    }
    path, index = out / ABOUT, out / INDEX
    if path.is_file() and index.is_file():
        known = json.loads(path.read_text())
        differs = [key for key, value in about.items() if known.get(key) != value]
        if differs or known.get("index_sha256") != index_hash(index):
            raise ConfigError(
                f"{out} is another run's ({', '.join(differs) or 'its index was changed'}); give another --out"
            )
        listed_at = time.strftime("%Y-%m-%d %H:%M", time.localtime(index.stat().st_mtime))
        report(
            f"the index of {listed_at} lists {known['bags']:,} bags; what came since is not in it and needs another --out"
        )
        return int(known["bags"])
    if next(out.glob("part-*.parquet"), None):
        raise ConfigError(
            f"{out} holds parts of a run that does not say of what they are; give another --out"
        )
    with _folder(out):
        count, made = write_index(about["sources"], index, config.views, report)
    atomic_write_text(
        path,
        json.dumps(
            about
            | {
                "bags": count,
                "views_made": list(made or config.views),
                "index_sha256": index_hash(index),
            },
            indent=1,
        ),
    )
    report(f"index: {count:,} bags; judged by {', '.join(sorted(set(about['runtimes'])))}")
    return count


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """A run that comes to nothing leaves no empty folder.

    Raises:
        ConfigError: it is an address. DataError: it is a file.
    """
    if re.match(r"\w+:/", str(out)):
        raise ConfigError(
            f"--out {out}: results are written to a folder of this machine; --to copies every finished part to object storage"
        )
    refuse_file(out)
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                out.rmdir()
        raise


def _refuse_doubles(sources: Sequence[str]) -> None:
    """Every bag of a source that lies within another would be two rows."""
    places = sorted(f"{same_place(source)}/" for source in sources)
    for outer, inner in itertools.pairwise(places):  # what lies within a place comes right after it
        if inner.startswith(outer):
            raise ConfigError(
                f"{inner[:-1]} and {outer[:-1]}: bags of the one would be judged twice; name the outer one alone"
            )


@contextmanager
def only_run(out: Path, report: Report = print) -> Iterator[None]:
    """Hold a folder from before :func:`prepare` to the end of :func:`screen_archive` against a second run of the same line.

    That one would list again, judge the same bags and take the ledger away. A folder that holds nothing in the end goes again.

    Raises:
        DataError: another run is at work there; ``out`` is a file. ConfigError: ``out`` is an address.
    """
    with _folder(out), held(out, report):
        try:
            yield
        finally:
            if not (out / INDEX).exists():
                (out / LOCK).unlink(missing_ok=True)


class Judges(Protocol):
    """What judges bags side by side: worker processes of this machine, or a cluster."""

    def judge(
        self, bags: Sequence[tuple[int, dict[str, Any]]]
    ) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """(number, bag, answer), as they are done."""

    def stop(self) -> None:
        """End them."""


def screen_archive(
    out: Path, config: BatchConfig, pool: Judges, report: Report = print, to: str = ""
) -> dict[str, Any]:
    """Screen every part of a prepared archive that is not there yet; counts of all. The pool is stopped at the end.

    Args:
        to: URL of a folder in object storage that every finished part is copied to.

    Raises:
        DataError: a finished part cannot be read; ``to`` cannot be written.
    """
    total, started = count_index(out / INDEX), time.monotonic()
    if to:
        claim(to, out / ABOUT)
    progress = _Progress(total, report, started)
    if there := sum(
        min(config.part_size, total - first)
        for first in range(0, total, config.part_size)
        if part_path(out, first // config.part_size).is_file()
    ):
        report(f"{there:,} of {total:,} bags are judged already")
        progress.known(there)
    try:
        for number, bags in missing_parts(out, config):
            screen_part(out, number, bags, config, pool, progress)
            if to:
                publish([part_path(out, number)], to)
    finally:
        pool.stop()
    counts = tally(
        out
    )  # before more is copied: what cannot be read must not take the place of a sound copy
    if to:  # those of a run that was killed before it had copied them
        publish(sorted(out.glob("part-*.parquet")), to, missing_only=True)
    shutil.rmtree(out / LEDGER, ignore_errors=True)
    runtime = ", ".join(sorted(set(json.loads((out / ABOUT).read_text())["runtimes"])))
    return counts | {
        "bags": total,
        "runtime": runtime,
        "seconds": round(time.monotonic() - started, 1),
        "config": asdict(config),
        "out": str(out),
    }


def part_path(out: Path, number: int) -> Path:
    """Where a part lies once it is finished."""
    return out / f"part-{number:05d}.parquet"


def missing_parts(out: Path, config: BatchConfig) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Parts that are not finished, with their bags."""
    for number, bags in enumerate(read_index(out / INDEX, config.part_size)):
        if not part_path(out, number).is_file():
            yield number, bags


def screen_part(
    out: Path,
    number: int,
    bags: Sequence[dict[str, Any]],
    config: BatchConfig,
    pool: Judges,
    progress: _Progress | None = None,
) -> None:
    """Judge a part's bags and write its Parquet; what a killed run judged of it is taken from its ledger."""
    first = number * config.part_size
    ledger = Ledger(out / LEDGER / f"part-{number:05d}.jsonl")
    known = ledger.read()
    stamps = {
        first + i: _stamp(bag) for i, bag in enumerate(bags)
    }  # of before: what changes while it is judged is judged again
    todo = [
        (first + i, bag)
        for i, bag in enumerate(bags)
        if known.get(first + i, {}).get("stamp") != stamps[first + i]
    ]
    if progress:
        progress.known(len(bags) - len(todo))
    about = json.loads((out / ABOUT).read_text())

    def complete(bag: dict[str, Any]) -> dict[str, Any]:
        views = config.scanner_views or expected_of(
            [view["view_id"] for view in bag["views"]], about["views_made"]
        )
        return bag | {"expected": list(views), "ids": about["models"]}

    for index, bag, answer in pool.judge([(i, complete(bag)) for i, bag in todo]):
        if answer.get("surroundings"):  # not the bag's fault, and so not its result
            raise UnavailableError(f"{answer['error']}; the same line goes on where this stopped")
        if answer["ok"]:
            row = flat_row(index, bag["bag"], answer["row"], answer["top_score"])
        else:
            path = bag["views"][0]["path"]
            row = flat_row(
                index,
                bag["bag"],
                error_row(Path(path), answer["error"], ReasonCode(answer["code"])) | {"path": path},
                None,
            )
        ledger.add({"stamp": stamps[index], "row": row})
        known[index] = {"row": row}
        if progress:
            progress.judged(row)
    write_part(part_path(out, number), [known[first + i]["row"] for i in range(len(bags))])
    ledger.remove()


class _Progress:
    """Says how far an archive is, every few seconds."""

    def __init__(self, total: int, report: Report, started: float) -> None:
        self.total, self.report, self.started = total, report, started
        self.done, self._judged, self._errors, self._said = 0, 0, 0, started

    def known(self, count: int) -> None:
        """Bags that an earlier run has judged."""
        self.done += count

    def judged(self, row: dict[str, Any]) -> None:
        """One more bag."""
        self.done += 1
        self._judged += 1
        if row["error"]:
            self._errors += 1
            if self._errors <= MAX_ERRORS:
                self.report(
                    f"REVIEW: {row['path']}: {row['error']}"
                    + (
                        "; further errors are in the column error alone"
                        if self._errors == MAX_ERRORS
                        else ""
                    )
                )
        now = time.monotonic()
        if now - self._said > SAY_EVERY_S or self.done == self.total:
            self._said = now
            rate = self._judged / (now - self.started)
            left = (self.total - self.done) / rate
            remaining = (
                f", {left:.0f} s left"
                if 0 < left < 120
                else f", {left / 60:.0f} min left"
                if left
                else ""
            )
            self.report(f"{self.done:,} of {self.total:,} bags, {rate:.1f} a second{remaining}")


def tally(out: Path) -> dict[str, Any]:
    """Counts over all parts, a column at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counts: dict[str, int] = {"ALARM": 0, "CLEAR": 0, "REVIEW": 0, "errors": 0}
    for path in sorted(out.glob("part-*.parquet")):
        try:
            with path.open(
                "rb"
            ) as file:  # of a path, Arrow would take one with a colon for an address
                columns = pq.read_table(file, columns=["decision", "error"])
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is damaged ({error}): delete it, and the same line judges its bags again"
            ) from error
        for entry in pc.value_counts(columns["decision"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
        counts["errors"] += len(columns) - columns["error"].null_count
    return counts


def _stamp(bag: dict[str, Any]) -> str:
    """What changes when a file of a bag does, without reading it."""
    return " ".join(view.get("stamp") or stamp_of(Path(view["path"])) for view in bag["views"])
