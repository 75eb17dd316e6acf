"""Index of an archive: every bag with its files, in a fixed order, as an Arrow stream.

Memory grows with the largest directory, not with the archive.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bagscan.batch.storage import is_remote, join, list_folders, object_at, set_members
from bagscan.core.errors import DataError, absent
from bagscan.core.files import atomic_write
from bagscan.formats.scans import (
    CONVERTED,
    MARKS,
    READERS,
    RECIPE,
    as_text,
    describe_unknown_types,
    doubled_error,
    group_files,
    is_appledouble,
    no_scans,
    refuse_duplicates,
    scanner_views_of,
    set_at,
    unknown_types,
    walk,
)

log = logging.getLogger(__name__)

# A stamp changes with the object; it is empty for local files.
VIEW = pa.struct([("view_id", pa.string()), ("path", pa.string()), ("stamp", pa.string())])
SCHEMA = pa.schema([("bag", pa.string()), ("views", pa.list_(VIEW))])
CHUNK = 4096  # bags per record batch


def write_index(
    sources: Sequence[str | Path], path: Path, views: Sequence[str]
) -> tuple[int, tuple[str, ...]]:
    """Write the index of all bags in files, directories and object storage, atomically.

    Args:
        sources: files, directories and URLs.
        path: file of the index.
        views: view names, the endings of file names.

    Returns:
        Number of bags, and the views that any bag has.

    Raises:
        DataError: a source does not exist or cannot be listed, or there are no scans.
        ReadError: a dataset holds every bag twice, as ``raw`` and ``colour``; a directory cannot
            be listed.
    """
    missing = [
        absent(source) for source in sources if not is_remote(source) and not Path(source).exists()
    ]
    if missing:
        raise DataError("; ".join(missing))
    count, unknown, known_views = 0, Counter[str](), tuple[str, ...]()
    with atomic_write(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
            for chunk in _chunks(_bags(sources, views, unknown)):
                writer.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
                count += len(chunk)
                views_of_bags = ([view["view_id"] for view in bag["views"]] for bag in chunk)
                known_views = scanner_views_of([known_views, *views_of_bags])
                if count % (25 * CHUNK) == 0:
                    log.info(f"index: {count:,} bags")
        if not count:
            raise DataError(no_scans(sources, unknown))
    if unknown:
        log.info(describe_unknown_types(unknown))
    return count, known_views


def read_index(path: Path, size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield lists of ``size`` bags, in order; the last may be shorter."""
    bags: list[dict[str, Any]] = []
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            bags += batch.to_pylist()
            while len(bags) >= size:
                yield bags[:size]
                bags = bags[size:]
    if bags:
        yield bags


def count_index(path: Path) -> int:
    """Return the number of bags in an index."""
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        return sum(batch.num_rows for batch in reader)


def index_hash(path: Path) -> str:
    """Return the SHA-256 of an index, in hex digits."""
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
    """Yield the bags of all sources; explicitly named files can have any type."""
    explicit: dict[str, dict[str, str]] = {}  # files that are sources, by directory
    folders: list[str | Path] = []
    for source in sources:
        if Path(source).is_file():
            explicit.setdefault(os.path.dirname(source), {})[os.path.basename(source)] = ""
        elif is_remote(source) and (entry := object_at(str(source))):
            explicit.setdefault(entry[0], {}).update(entry[1])
        else:
            folders.append(source)
    for folder, files in explicit.items():
        stamps = files if is_remote(folder) else {}
        yield from _bags_of(folder, list(files), views, stamps, keep_all=True)
    for source in folders:
        if is_remote(source):
            for url, stamps in list_folders(str(source)):
                if {RECIPE, "dataset.json"} <= stamps.keys() or CONVERTED in stamps:
                    raise doubled_error(url)
                unknown.update(unknown_types(stamps))
                yield from _bags_of(url, list(stamps), views, stamps)
        else:
            for folder, _, names in walk(source):
                if not set(MARKS).isdisjoint(names):
                    refuse_duplicates(folder)
                unknown.update(unknown_types(names))
                yield from _bags_of(folder, names, views, {})


def _bags_of(
    folder: str,
    files: list[str],
    views: Sequence[str],
    stamps: Mapping[str, str],
    keep_all: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield the bags of one directory; files that differ only in the view name form a bag.

    Args:
        folder: path or URL of the directory.
        files: names of its files.
        views: view names.
        stamps: stamps of the files in object storage; empty for a local directory.
        keep_all: keep files of unknown types.
    """
    files.sort()
    names = set(files)
    scans: dict[str, tuple[str, str, bool]] = {}
    for name in files:
        stem, ending = os.path.splitext(name)
        if (ending.lower() not in READERS or is_appledouble(name)) and not keep_all:
            continue
        members: list[str] = []
        if ending.lower() == ".png" and stamps:
            members = _set_of(name, names)
        elif ending.lower() == ".png":
            members = [path.name for path in set_at(Path(folder, name)).values()]
        first = members[0] if members else name  # the first file stands for a set of channels
        scan_id = stem.rpartition("_")[0] if members else stem
        scans.setdefault(first, (first, scan_id, bool(members)))
    for bag, members_by_view in group_files(scans.values(), views):
        paths = {view: join(folder, name) for view, name in members_by_view.items()}
        yield _row(bag, paths, stamps)


def _set_of(name: str, names: set[str]) -> list[str]:
    """Return the files of a PNG set in object storage, by name; reading them would fetch them."""
    members = [member for member in set_members(name) if member in names]
    return members if len(members) > 1 else []


def _row(bag: str, files: Mapping[str, str], stamps: Mapping[str, str]) -> dict[str, Any]:
    views = []
    for view, path in files.items():
        members = set_members(os.path.basename(path))
        stamp = " ".join(stamps[member] for member in members if member in stamps)
        views.append({"view_id": view, "path": as_text(path), "stamp": stamp})
    return {"bag": as_text(bag), "views": views}
