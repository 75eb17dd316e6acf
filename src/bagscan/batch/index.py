"""The index of an archive: every bag with its files, in a fixed order, in Arrow; memory does not grow with the archive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bagscan.batch.storage import is_remote, listed, set_members
from bagscan.core.errors import DataError
from bagscan.core.files import whole
from bagscan.formats.scans import CONVERTED, MARKS, READERS, RECIPE, doubled_error, refuse_doubled, set_at

VIEW = pa.struct([("view_id", pa.string()), ("path", pa.string()), ("stamp", pa.string())])  # the stamp of what lies in object storage
SCHEMA = pa.schema([("bag", pa.string()), ("views", pa.list_(VIEW))])
CHUNK = 4096
Report = Callable[[str], None]


def write_index(sources: Sequence[str | Path], path: Path, views: Sequence[str], report: Report = print) -> int:
    """List every bag in files, folders and object storage; returns how many. Written whole or not at all.

    Raises:
        DataError: a source that does not exist, or no scan at all. ReadError: a set that shows every bag twice.
    """
    missing = [str(source) for source in sources if not is_remote(source) and not Path(source).exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}")
    count = 0
    with whole(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
            for chunk in _chunks(_bags(sources, views)):
                writer.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
                count += len(chunk)
                if count % (25 * CHUNK) == 0:
                    report(f"index: {count:,} bags")
        if not count:
            raise DataError(f"no scans in {', '.join(map(str, sources))}")
    return count


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


def _bags(sources: Sequence[str | Path], views: Sequence[str]) -> Iterator[dict[str, Any]]:
    for source in sources:
        if is_remote(source):
            for url, stamps in listed(str(source)):
                if {RECIPE, "dataset.json"} <= stamps.keys() or CONVERTED in stamps:
                    raise doubled_error(url)
                yield from _bags_of(url, list(stamps), views, stamps)
            continue
        if Path(source).is_file():
            yield _row(Path(source).stem, {"0": str(source)}, {})
            continue
        for folder, folders, files in os.walk(source):
            folders.sort()
            if not set(MARKS).isdisjoint(files):
                refuse_doubled(folder)
            yield from _bags_of(folder, files, views, {})


def _bags_of(folder: str, files: list[str], views: Sequence[str], stamps: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Bags of one folder: files that differ in the name of a view alone belong together, as on the command line."""
    files.sort()
    there = set(files)
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in files:
        stem, ending = os.path.splitext(name)
        if ending.lower() not in READERS:
            continue
        members: list[str] = []
        if ending.lower() == ".png":
            members = _set_of(name, there) if stamps else [path.name for path in set_at(Path(folder, name)).values()]
            if members and members[0] != name:
                continue  # one path stands for a set of channels
        view = next((v for v in views if stem.endswith(f"_{v}")), None)
        if members:
            stem = stem.rpartition("_")[0]  # without its channel
        key = (stem.removesuffix(f"_{view}") if view else stem, ending if view else name)
        groups.setdefault(key, {})[view or "0"] = name
    for (bag, _), found in groups.items():
        yield _row(bag, {view: os.path.join(folder, name) for view, name in found.items()}, stamps)


def _set_of(name: str, there: set[str]) -> list[str]:
    """The files of a PNG set in object storage: by name alone, as looking into each would fetch it."""
    members = [member for member in set_members(name) if member in there]
    return members if len(members) > 1 else []


def _row(bag: str, files: dict[str, str], stamps: Mapping[str, str]) -> dict[str, Any]:
    return {"bag": bag, "views": [{"view_id": view, "path": path, "stamp": stamps.get(os.path.basename(path), "")} for view, path in files.items()]}
