"""Screen scans into a directory of results.

The results are ``findings.json``, ``findings.coco.json``, ``report.html`` with ``report_images/``,
and ``dicos/``. The row of every bag is written to ``partial/`` as soon as the bag is screened, so
the same command resumes a run that was killed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.core.errors import ConfigError, ReadError
from bagscan.core.extras import import_optional
from bagscan.core.files import atomic_write_text, lock_folder, refuse_file
from bagscan.formats import find_scans
from bagscan.formats.scans import (
    VIEWS,
    change_stamp,
    describe_unknown_types,
    expected_of,
    group_views,
    no_scans,
    scanner_views_of,
)
from bagscan.kernel_cache import is_empty
from bagscan.reporting.bags import screen_files
from bagscan.reporting.dicos import write_threat_reports
from bagscan.reporting.findings import coco_of_rows
from bagscan.reporting.html import error_section, render_page, report_section, summary_row
from bagscan.reporting.pictures import Pictures
from bagscan.reporting.truth import compare_with_truth, load_hidden_masks, summarise_truth
from bagscan.screening import Screener

log = logging.getLogger(__name__)

MAX_IN_PAGE = 500  # bags; browsers struggle with more, and the JSON files hold all
MAX_IN_ONE_FILE = 50  # bags; above, pictures are files beside the page that load on scrolling
IMAGES = "report_images"
MAX_REPORTED = 10  # alarms that are printed
REPORT_INTERVAL_S = 5
FIRST_RUN = "; the first bag takes up to a minute because code is compiled once per machine"
DECISIONS = ("ALARM", "REVIEW", "CLEAR")  # in the order of the page


@dataclass(frozen=True)
class Shown:
    """A bag on the page.

    Attributes:
        row: its row of ``findings.json``.
        picture: address of the close-up of its highest-scoring finding; empty without findings.
        section: file of its section of the page.
    """

    row: dict[str, Any]
    picture: str
    section: Path


def screen_folder(
    paths: Sequence[Path],
    models: Sequence[Path],
    out: Path,
    views: Sequence[str] = VIEWS,
    scanner_views: Sequence[str] = (),
    dicos: bool = False,
    runtime: str | None = None,
) -> dict[str, Any]:
    """Screen every scan in files and directories.

    A scan that cannot be read becomes an error row with decision ``REVIEW``.

    Args:
        paths: files and directories of scans.
        models: model folders; the first that takes a scan's channels screens it.
        out: directory of the results; created if it does not exist.
        views: view names. Files whose names differ only in such an ending are views of one bag.
        scanner_views: views that the scanner makes of every bag; empty for all views that any of
            these bags has.
        dicos: also write a DICOS threat detection report of every bag into ``dicos/``.
        runtime: see :func:`bagscan.runtime.load.load_model`.

    Returns:
        Number of bags by decision, ``reasons`` (number by code), ``errors`` (message by path),
        ``truth`` (comparison with the truth of simulated scans), ``passed_over``, ``scans``,
        ``model_ids``, ``runtime`` and ``out``.

    Raises:
        ReadError: a path does not exist, or there is nothing to screen.
        DataError: ``out`` is a file, or another run writes to it.
        ConfigError: ``out`` holds the results of other scans.
        BagscanError: ``dicos`` is set and pydicom is not installed.
    """
    if dicos:
        import_optional("pydicom")
    unknown = Counter[str]()
    bags = group_views(find_scans(paths, unknown), views)
    if not bags:
        raise ReadError(no_scans(paths, unknown))
    refuse_file(out)
    out.mkdir(parents=True, exist_ok=True)
    screeners = [Screener.load(model, runtime=runtime, lazy=len(models) > 1) for model in models]
    with lock_folder(out):
        _refuse_others(out, bags)
        tally, rows = _screen_into(out, bags, screeners, views, scanner_views, unknown)
        if dicos:
            write_threat_reports(out / "dicos", rows)
        return tally


def _refuse_others(out: Path, bags: Sequence[Mapping[str, Path]]) -> None:
    """Refuse to overwrite the results of other scans.

    Raises:
        ConfigError: none of these bags is among the results in ``out``.
    """
    try:
        known = {row.get("path") for row in json.loads((out / "findings.json").read_text())}
    except (OSError, ValueError, AttributeError):  # no results, or those of an unfinished run
        return
    if known and known.isdisjoint(str(path) for files in bags for path in files.values()):
        example = sorted(map(str, known))[0]
        raise ConfigError(
            f"{out} holds the results of other scans ({example} ...); "
            "give another --out, or delete it"
        )


def _screen_into(
    out: Path,
    bags: Sequence[Mapping[str, Path]],
    screeners: Sequence[Screener],
    views: Sequence[str],
    scanner_views: Sequence[str],
    unknown: Mapping[str, int],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Screen the bags without a stored row and write the results; return counts and rows."""
    note = FIRST_RUN if is_empty() else ""
    log.info(f"screening {len(bags)} bag{'s' * (len(bags) != 1)} with {screeners[0].runtime}{note}")
    if unknown:
        log.info(describe_unknown_types(unknown))
    partial = out / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    images = out / IMAGES if len(bags) > MAX_IN_ONE_FILE else None
    known_views = scanner_views_of(bags) or tuple(views)
    screened = _screen_bags(bags, screeners, known_views, scanner_views, partial, images)
    rows = [bag.row for bag in screened]
    tally: dict[str, Any] = {
        name: sum(row["decision"] == name for row in rows) for name in DECISIONS
    }
    tally["reasons"] = dict(Counter(code for row in rows for code in row.get("reason_codes", ())))
    (out / "findings.json").write_text(json.dumps(rows, indent=1))
    (out / "findings.coco.json").write_text(json.dumps(coco_of_rows(rows, out)))
    tally["truth"] = summarise_truth(row["truth"] for row in rows if "truth" in row)
    _write_page(out / "report.html", screened, tally, screeners)
    _drop_images(out / IMAGES, {bag.section.stem for bag in screened} if images else set())
    shutil.rmtree(partial)
    _report_rows(rows)
    for screener in _used(screeners, rows):
        if screener.warning:
            log.warning(screener.warning)
    errors = {row["path"]: row["error"] for row in rows if row.get("error")}
    used_ids = sorted({row["model_id"] for row in rows if row.get("model_id")})
    tally |= {
        "passed_over": dict(unknown),
        "errors": errors,
        "scans": len(bags),
        "model_ids": used_ids,
        "runtime": screeners[0].runtime,
        "out": str(out),
    }
    return tally, rows


def _screen_bags(
    bags: Sequence[Mapping[str, Path]],
    screeners: Sequence[Screener],
    known_views: Sequence[str],
    scanner_views: Sequence[str],
    partial: Path,
    images: Path | None,
) -> list[Shown]:
    ids = " ".join(screener.model.id for screener in screeners)
    used = " ".join([ids, *(screener.runtime for screener in screeners)])
    screened: list[Shown] = []
    n_new, started, reported_at = 0, time.monotonic(), time.monotonic()
    for number, files in enumerate(bags, 1):
        expected = scanner_views or expected_of(files, known_views)
        stamps = [f"{name} {file.absolute()} {change_stamp(file)}" for name, file in files.items()]
        key = f"{used} {' '.join([*expected, *stamps])} {images is None}"
        # os.fsencode: a file name need not be UTF-8.
        stored = partial / hashlib.sha256(os.fsencode(key)).hexdigest()[:24]
        if not stored.with_suffix(".json").exists():
            n_new += 1
            _screen_bag(screeners, files, expected, stored, images)
            if n_new == 1:  # the first bag waits for models to load and kernels to compile
                started = time.monotonic()
        result = json.loads(stored.with_suffix(".json").read_text())
        screened.append(Shown(result["row"], result["picture"], stored.with_suffix(".html")))
        if time.monotonic() - reported_at > REPORT_INTERVAL_S or number == len(bags):
            reported_at = time.monotonic()
            left = _left(reported_at - started, n_new - 1, len(bags) - number)
            log.info(f"screened {number} of {len(bags)}{left}")
    return screened


def _report_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Report every bag in REVIEW and the alarms with the highest scores."""
    for row in rows:
        if row["decision"] == "REVIEW":
            log.info(
                f"REVIEW: {row.get('error') or '; '.join([str(row['path']), *row['reasons']])}"
            )
    alarms = sorted((row for row in rows if row["decision"] == "ALARM"), key=_score, reverse=True)
    for row in alarms[:MAX_REPORTED]:
        log.info(
            f"ALARM: {row['scan_id']}: {len(row['findings'])} flagged, "
            f"the first in view {row['findings'][0]['view_id']}, score {_score(row):.3f}"
        )


def _score(row: Mapping[str, Any]) -> float:
    return max((found["score"] for found in row["findings"]), default=0.0)


def _left(elapsed_s: float, done: int, to_do: int) -> str:
    return f", {elapsed_s / done * to_do:.0f} s left" if done > 0 and to_do else ""


def _screen_bag(
    screeners: Sequence[Screener],
    files: Mapping[str, Path],
    expected: Sequence[str],
    stored: Path,
    images: Path | None,
) -> None:
    """Screen one bag and store its section, pictures and row."""
    screened = screen_files(screeners, files, expected)
    row, scan, report, picture = screened.row, screened.scan, screened.report, ""
    if scan is None or report is None:
        section = error_section(row, stored.name)
    else:
        pictures = Pictures(images, stored.name)
        hidden = load_hidden_masks(
            next(iter(files.values())), scan.id, [view.view_id for view in scan.views]
        )
        if hidden is not None:
            row = row | {"truth": compare_with_truth(row, hidden)}
        outcome = row["truth"]["outcome"] if hidden is not None else ""
        section, picture = report_section(
            report, scan, files.values(), stored.name, pictures, hidden, outcome
        )
    stored.with_suffix(".html").write_text(section, errors="backslashreplace")
    # The row is written last: its presence marks the bag as complete.
    atomic_write_text(stored.with_suffix(".json"), json.dumps({"row": row, "picture": picture}))


def _write_page(
    path: Path, screened: Sequence[Shown], tally: dict[str, Any], screeners: Sequence[Screener]
) -> None:
    """Write the page: first ALARM, then REVIEW, then CLEAR, each by falling score."""
    models = [_about(screener) for screener in _used(screeners, [bag.row for bag in screened])]
    order = sorted(
        screened, key=lambda bag: (DECISIONS.index(bag.row["decision"]), -_score(bag.row))
    )
    lines: dict[str, list[str]] = {name: [] for name in DECISIONS}
    for rank, bag in enumerate(order):
        lines[bag.row["decision"]].append(
            summary_row(bag.row, bag.section.stem, rank < MAX_IN_PAGE, bag.picture)
        )
    sections = (bag.section.read_text() for bag in order[:MAX_IN_PAGE])
    missed = sum(
        bag.row["decision"] == "CLEAR" and bag.row.get("truth", {}).get("outcome") == "missed"
        for bag in screened
    )
    pieces = render_page(
        sections,
        lines,
        min(len(screened), MAX_IN_PAGE),
        tally,
        models or [_about(screeners[0])],
        tally["truth"],
        missed,
    )
    with path.open("w", errors="backslashreplace") as page:
        page.writelines(pieces)


def _used(screeners: Sequence[Screener], rows: Sequence[Mapping[str, Any]]) -> list[Screener]:
    ids = {row.get("model_id") for row in rows}
    return [screener for screener in screeners if screener.model.id in ids]


def _drop_images(folder: Path, used: set[str]) -> None:
    """Delete pictures of bags that are not on the page."""
    for path in folder.glob("*"):
        if path.suffix in (".jpg", ".svg") and path.name.partition("_")[0] not in used:
            path.unlink()


def _about(screener: Screener) -> str:
    """Return a sentence on a model and its operating point."""
    point, channels = screener.point, screener.model.config.input.channels
    level = "bags" if "per scan" in point.criterion else "regions"
    return (
        f"Model for {', '.join(channels)} ({screener.model.id}, {screener.runtime}). "
        f"Its operating point is a score of {point.threshold:.4g} ({point.criterion}). "
        f"On the {point.chosen_on_split} split, {100 * point.expected_fpr:.1f} % of benign {level} "
        f"reached it. {screener.warning[:1].upper()}{screener.warning[1:]}".rstrip()
    )
