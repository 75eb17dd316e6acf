"""The index of an archive: every bag with its files, in a fixed order, in Arrow; memory grows with the largest folder, not with the archive."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bagscan.batch.storage import is_remote, join, listed, object_at, set_members
from bagscan.core.errors import DataError, absent
from bagscan.core.files import atomic_write
from bagscan.formats.scans import (
    CONVERTED,
    MARKS,
    READERS,
    RECIPE,
    as_text,
    doubled_error,
    grouped,
    is_shadow,
    no_scans,
    refuse_doubled,
    set_at,
    told_types,
    unknown_types,
    views_made,
    walk,
)

VIEW = pa.struct(
    [("view_id", pa.string()), ("path", pa.string()), ("stamp", pa.string())]
)  # the stamp of what lies in object storage
SCHEMA = pa.schema([("bag", pa.string()), ("views", pa.list_(VIEW))])
CHUNK = 4096
Report = Callable[[str], None]


def write_index(
    sources: Sequence[str | Path], path: Path, views: Sequence[str], report: Report = print
) -> tuple[int, tuple[str, ...]]:
    """List every bag in files, folders and object storage; returns how many, and the views that bags have. Written whole or not at all.

    Raises:
        DataError: a source that does not exist or cannot be listed, or no scan at all. ReadError: a set that shows every bag twice; a folder that cannot be listed.
    """
    missing = [
        absent(source) for source in sources if not is_remote(source) and not Path(source).exists()
    ]
    if missing:
        raise DataError("; ".join(missing))
    count, unknown, made = 0, Counter[str](), tuple[str, ...]()
    with atomic_write(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
            for chunk in _chunks(_bags(sources, views, unknown)):
                writer.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
                count += len(chunk)
                made = views_made(
                    [made, *([view["view_id"] for view in bag["views"]] for bag in chunk)]
                )
                if count % (25 * CHUNK) == 0:
                    report(f"index: {count:,} bags")
        if not count:
            raise DataError(no_scans(sources, unknown))
    if unknown:
        report(told_types(unknown))
    return count, made


def read_index(path: Path, size: int) -> Iterator[list[dict[str, Any]]]:
    """Slices of ``size`` bags, in order; one slice in memory at a time."""
    waiting: list[dict[str, Any]] = []
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            waiting += batch.to_pylist()
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
    if waiting:
        yield waiting


def count_index(path: Path) -> int:
    """How many bags an index holds."""
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        return sum(batch.num_rows for batch in reader)


def index_hash(path: Path) -> str:
    """SHA-256 of an index."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _bags(
    sources: Sequence[str | Path], views: Sequence[str], unknown: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Bags of all sources; files that are named by themselves are put together as those of a folder are, and kept whatever their type."""
    named: dict[str, dict[str, str]] = {}
    folders: list[str | Path] = []
    for source in sources:
        if Path(source).is_file():
            named.setdefault(os.path.dirname(source), {})[os.path.basename(source)] = ""
        elif is_remote(source) and (one := object_at(str(source))):
            named.setdefault(one[0], {}).update(one[1])
        else:
            folders.append(source)
    for folder, files in named.items():
        yield from _bags_of(
            folder, list(files), views, files if is_remote(folder) else {}, named=True
        )
    for source in folders:
        if is_remote(source):
            for url, stamps in listed(str(source)):
                if {RECIPE, "dataset.json"} <= stamps.keys() or CONVERTED in stamps:
                    raise doubled_error(url)
                unknown.update(unknown_types(stamps))
                yield from _bags_of(url, list(stamps), views, stamps)
        else:
            for folder, _, names in walk(source):
                if not set(MARKS).isdisjoint(names):
                    refuse_doubled(folder)
                unknown.update(unknown_types(names))
                yield from _bags_of(folder, names, views, {})


def _bags_of(
    folder: str,
    files: list[str],
    views: Sequence[str],
    stamps: Mapping[str, str],
    named: bool = False,
) -> Iterator[dict[str, Any]]:
    """Bags of one folder: files that differ in the name of a view alone belong together, as on the command line.

    Args:
        stamps: of what lies in object storage. named: files that somebody named: none is passed over.
    """
    files.sort()
    there = set(files)
    scans: dict[str, tuple[str, str, bool]] = {}
    for name in files:
        stem, ending = os.path.splitext(name)
        if (ending.lower() not in READERS or is_shadow(name)) and not named:
            continue
        members: list[str] = []
        if ending.lower() == ".png":
            members = (
                _set_of(name, there)
                if stamps
                else [path.name for path in set_at(Path(folder, name)).values()]
            )
        first = members[0] if members else name  # one path stands for a set of channels
        scans.setdefault(
            first, (first, stem.rpartition("_")[0] if members else stem, bool(members))
        )
    for bag, found in grouped(scans.values(), views):
        yield _row(bag, {view: join(folder, name) for view, name in found.items()}, stamps)


def _set_of(name: str, there: set[str]) -> list[str]:
    """The files of a PNG set in object storage: by name alone, as looking into each would fetch it."""
    members = [member for member in set_members(name) if member in there]
    return members if len(members) > 1 else []


def _row(bag: str, files: Mapping[str, str], stamps: Mapping[str, str]) -> dict[str, Any]:
    def stamp(path: str) -> str:
        return " ".join(
            stamps[member] for member in set_members(os.path.basename(path)) if member in stamps
        )

    return {
        "bag": as_text(bag),
        "views": [
            {"view_id": view, "path": as_text(path), "stamp": stamp(path)}
            for view, path in files.items()
        ],
    }
