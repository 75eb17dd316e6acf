"""Screen an archive part by part, with the bags of a part in parallel.

The same command resumes a run that was killed: finished parts are Parquet files, the ledger holds
the rows of the unfinished part, and the index lists the bags of every part.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from bagscan.batch.index import count_index, index_hash, read_index, write_index
from bagscan.batch.ledger import Ledger
from bagscan.batch.progress import Progress
from bagscan.batch.rows import flat_row, tally, write_part
from bagscan.batch.storage import absolute, canonical_source, claim, publish
from bagscan.core import ReasonCode
from bagscan.core.errors import ConfigError, UnavailableError
from bagscan.core.files import LOCK, atomic_write_text, lock_folder, refuse_file
from bagscan.formats.scans import VIEWS, change_stamp, expected_of
from bagscan.model_folder import read_description, verified_id, warning_of
from bagscan.reporting.findings import error_row
from bagscan.runtime.load import chosen_runtime

log = logging.getLogger(__name__)

# Readers of Parquet directories skip names that begin with an underscore.
INDEX, ABOUT, LEDGER = "_index.arrow", "_batch.json", "_ledger"


@dataclass(frozen=True)
class BatchConfig:
    """Settings of the screening of an archive.

    Attributes:
        workers: number of processes, each on one core.
        timeout_s: time limit per bag, in seconds; a worker that exceeds it is stopped, and the
            bag becomes an error row.
        part_size: bags per Parquet file.
        views: view names, the endings of file names.
        scanner_views: views that the scanner makes of every bag; empty for all views that any bag
            of the archive has.
        runtime: see :func:`bagscan.runtime.load.load_model`.

    Raises:
        ConfigError: a value is out of its range.
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
                "workers and part_size must be 1 or more, and timeout a number of seconds above 0;"
                f" got {self.workers}, {self.part_size} and {self.timeout_s}"
            )


def prepare(
    sources: Sequence[str | Path],
    models: Sequence[Path],
    out: Path,
    config: BatchConfig,
) -> int:
    """Write the index of an archive, or check the index of the run to resume.

    Args:
        sources: files, directories and URLs of scans.
        models: model folders; the first that takes a scan's channels screens it.
        out: directory of the results.
        config: settings of the run.

    Returns:
        Number of bags in the index.

    Raises:
        ConfigError: ``out`` belongs to a run with other sources, models or settings; a source
            lies within another; ``out`` is a URL.
        DataError: there are no scans; ``out`` is a file.
        ReadError: a dataset holds every bag twice, as ``raw`` and ``colour``.
    """
    locations = [absolute(source) for source in sources]
    _refuse_doubles(locations)
    about: dict[str, Any] = {
        "sources": locations,
        "models": [verified_id(model) for model in models],
        "runtimes": [chosen_runtime(model, config.runtime) for model in models],
        "part_size": config.part_size,
        "views": list(config.views),
        "scanner_views": list(config.scanner_views),
    }
    path, index = out / ABOUT, out / INDEX
    if path.is_file() and index.is_file():
        known = json.loads(path.read_text())
        differs = [key for key, value in about.items() if known.get(key) != value]
        if differs or known.get("index_sha256") != index_hash(index):
            why = f"different {', '.join(differs)}" if differs else "its index was changed"
            raise ConfigError(f"{out} belongs to another run ({why}); give another --out")
        listed_at = time.strftime("%Y-%m-%d %H:%M", time.localtime(index.stat().st_mtime))
        log.info(
            f"the index of {listed_at} lists {known['bags']:,} bags; "
            "newer files are not in it and need another --out"
        )
        return int(known["bags"])
    if next(out.glob("part-*.parquet"), None):
        raise ConfigError(f"{out} holds Parquet files but no {ABOUT}; give another --out")
    with _folder(out):
        count, known_views = write_index(about["sources"], index, config.views)
    about |= {
        "bags": count,
        "scanner_views_of": list(known_views or config.views),
        "index_sha256": index_hash(index),
    }
    atomic_write_text(path, json.dumps(about, indent=1))
    log.info(f"index: {count:,} bags; runtime {', '.join(sorted(set(about['runtimes'])))}")
    for model in models:
        if warning := warning_of(read_description(model)["about"]):
            log.warning(f"{model}: {warning}")
    return count


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Create a directory, and remove it if the body fails and leaves it empty.

    Raises:
        ConfigError: ``out`` is a URL.
        DataError: ``out`` is a file.
    """
    if re.match(r"\w+:/", str(out)):
        raise ConfigError(
            f"--out {out} is a URL; expected a local directory "
            "(--to copies finished parts to object storage)"
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
    """Refuse sources that contain each other, which would give bags two rows.

    Raises:
        ConfigError: a source lies within another, or equals it.
    """
    locations = sorted(f"{canonical_source(source)}/" for source in sources)
    for outer, inner in itertools.pairwise(locations):  # sorting puts the inner right after
        if inner.startswith(outer):
            raise ConfigError(
                f"{inner[:-1]} lies within {outer[:-1]}, so its bags would be screened twice; "
                "name only the outer source"
            )


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Lock a directory, from before :func:`prepare` to the end of :func:`screen_archive`.

    A second run in the same directory would screen the same bags and delete the ledger. A
    directory that is empty at the end is removed.

    Raises:
        DataError: another run holds the lock; ``out`` is a file.
        ConfigError: ``out`` is a URL.
    """
    with _folder(out), lock_folder(out):
        try:
            yield
        finally:
            if not (out / INDEX).exists():
                (out / LOCK).unlink(missing_ok=True)


class BagPool(Protocol):
    """Pool that screens bags in parallel: worker processes of this machine, or a cluster."""

    def screen(
        self, bags: Sequence[tuple[int, dict[str, Any]]]
    ) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Screen (number, bag) pairs; yield (number, bag, answer) in order of completion."""

    def stop(self) -> None:
        """Stop the workers."""


def screen_archive(out: Path, config: BatchConfig, pool: BagPool, to: str = "") -> dict[str, Any]:
    """Screen every unfinished part of a prepared archive. The pool is stopped at the end.

    Args:
        out: directory that :func:`prepare` has filled.
        config: settings of the run.
        pool: screens the bags.
        to: URL of a directory in object storage; every finished part is copied there.

    Returns:
        Number of bags by decision, ``errors``, ``bags``, ``runtime``, ``seconds``, ``config`` and
        ``out``.

    Raises:
        DataError: a finished part cannot be read; ``to`` cannot be written.
        ConfigError: ``to`` belongs to another run.
        UnavailableError: a store or machine failed; the run can be resumed.
    """
    total, started = count_index(out / INDEX), time.monotonic()
    if to:
        claim(to, out / ABOUT)
    progress = Progress(total, started)
    finished = sum(
        min(config.part_size, total - first)
        for first in range(0, total, config.part_size)
        if part_path(out, first // config.part_size).is_file()
    )
    if finished:
        log.info(f"{finished:,} of {total:,} bags are screened already")
        progress.known(finished)
    try:
        for number, bags in missing_parts(out, config):
            screen_part(out, number, bags, config, pool, progress)
            if to:
                publish([part_path(out, number)], to)
    finally:
        pool.stop()
    counts = tally(out)  # fails on a damaged part, which must not replace a sound copy below
    if to:  # parts of an earlier run that was killed before it copied them
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
    """Return the path of a finished part."""
    return out / f"part-{number:05d}.parquet"


def missing_parts(out: Path, config: BatchConfig) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the number and the bags of every unfinished part."""
    for number, bags in enumerate(read_index(out / INDEX, config.part_size)):
        if not part_path(out, number).is_file():
            yield number, bags


def screen_part(
    out: Path,
    number: int,
    bags: Sequence[dict[str, Any]],
    config: BatchConfig,
    pool: BagPool,
    progress: Progress | None = None,
) -> None:
    """Screen the bags of a part and write its Parquet file.

    Bags in the part's ledger are not screened again, unless their files have changed.

    Raises:
        UnavailableError: a store or machine failed; the run can be resumed.
    """
    first = number * config.part_size
    ledger = Ledger(out / LEDGER / f"part-{number:05d}.jsonl")
    known = ledger.read()
    # Stamps are taken before screening, so that a file that changes meanwhile is screened again.
    stamps = {first + i: _stamp(bag) for i, bag in enumerate(bags)}
    todo = [
        (first + i, bag)
        for i, bag in enumerate(bags)
        if known.get(first + i, {}).get("stamp") != stamps[first + i]
    ]
    if progress:
        progress.known(len(bags) - len(todo))
    about = json.loads((out / ABOUT).read_text())

    def complete(bag: dict[str, Any]) -> dict[str, Any]:
        present = [view["view_id"] for view in bag["views"]]
        views = config.scanner_views or expected_of(present, about["scanner_views_of"])
        return bag | {"expected": list(views), "ids": about["models"]}

    for index, bag, answer in pool.screen([(i, complete(bag)) for i, bag in todo]):
        if answer.get("surroundings"):  # the bag is not at fault and gets no row
            raise UnavailableError(f"{answer['error']}; run the same command again to resume")
        if answer["ok"]:
            row = flat_row(index, bag["bag"], answer["row"], answer["top_score"])
        else:
            path = bag["views"][0]["path"]
            failed = error_row(Path(path), answer["error"], ReasonCode(answer["code"]))
            row = flat_row(index, bag["bag"], failed | {"path": path}, None)
        ledger.add({"stamp": stamps[index], "row": row})
        known[index] = {"row": row}
        if progress:
            progress.count(row)
    write_part(part_path(out, number), [known[first + i]["row"] for i in range(len(bags))])
    ledger.remove()


def _stamp(bag: dict[str, Any]) -> str:
    """Return a text that changes when a file of the bag changes; no file is read."""
    return " ".join(view.get("stamp") or change_stamp(Path(view["path"])) for view in bag["views"])
