"""Files of scans: PNG sets, sidecars, and the search for scans in directories."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bagscan.core.errors import ReadError, absent
from bagscan.formats.headerless import beside
from bagscan.formats.images import png_header, png_set_of
from bagscan.formats.known import READERS, companion_endings

RECIPE = "recipe.json"  # in the folder of a simulated dataset
CONVERTED = "converted.json"  # written by convert, with the calibration
MARKS = (RECIPE, CONVERTED)  # mark a folder with a raw and a colour image of every bag
BESIDE_SCANS = frozenset(
    {"", ".csv", ".html", ".json", ".log", ".md", ".parquet", ".txt", ".xml", ".yaml", ".yml"}
)  # endings that are never taken for scans


def as_text(name: str) -> str:
    r"""Return a file name as valid text. Bytes that are not UTF-8 become ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def set_at(path: Path) -> dict[str, Path]:
    """Return the files of the 16-bit PNG set of ``path`` by channel, or {} for a single file.

    A single 16-bit file makes a set of all files with matching names, so that a damaged file is
    reported. Two 8-bit images named ``_low`` and ``_high`` are two scans.
    """
    files = png_set_of(path)
    return files if files and any(_is_16_bit(file) for file in files.values()) else {}


def _is_16_bit(file: Path) -> bool:
    try:
        # Opening a pipe blocks, so only regular files are opened.
        return file.is_file() and png_header(file)[2] == 16
    except (ReadError, OSError):
        return False


def files_of(path: Path) -> list[Path]:
    """Return all files of a scan: those of its PNG set, or the file and its sidecar."""
    return list(set_at(path).values()) or [path, *beside(path, companion_endings(path.suffix))]


def change_stamp(path: Path) -> str:
    """Return sizes and modification times of a scan's files; ``gone`` for a missing file.

    The result changes if a file changes. No file is read.
    """
    stamps = []
    for file in files_of(path):
        try:
            status = file.stat()
            stamps.append(f"{status.st_size} {status.st_mtime_ns}")
        except OSError:
            stamps.append("gone")
    return " ".join(stamps)


def set_name(path: Path) -> str:
    """Return the name of a PNG set: a file's stem without the channel."""
    return path.stem.rpartition("_")[0]


def scan_id_of(path: Path) -> str:
    """Return the file's stem, or the name of its PNG set."""
    return set_name(path) if set_at(path) else path.stem


def find_scans(paths: Iterable[str | Path], unknown: Counter[str] | None = None) -> list[Path]:
    """Find all scans in files and folders (recursively).

    A file that is given directly is always included, so that an unknown type is reported.

    Args:
        paths: files and folders.
        unknown: counter to which :func:`unknown_types` of the files in folders is added.

    Returns:
        The paths, sorted within each folder, with a single path per PNG set.

    Raises:
        ReadError: a path does not exist or cannot be listed, or a folder contains every bag twice.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(Path(folder, name) for folder, _, names in walk(path) for name in names)
            for mark in (p for p in inside if p.name in MARKS):
                refuse_duplicates(mark.parent)
            # Broken links and pipes are included, so that they are reported.
            found += [
                p for p in inside if p.suffix.lower() in READERS and not is_appledouble(p.name)
            ]
            if unknown is not None:
                unknown.update(unknown_types(p.name for p in inside))
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise ReadError(absent(path))
    return list(_first_of_each_set(dict.fromkeys(found)))


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield all folders below a folder as ``os.walk`` does, in a fixed order.

    Links to folders are followed, and each folder is visited only once.

    Raises:
        ReadError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise ReadError(f"{error.filename}: this folder cannot be listed: {error.strerror}")

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # reached through another link, or a loop
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield place, folders, files


def is_appledouble(name: str) -> bool:
    """Return True for an AppleDouble file, which macOS writes on foreign file systems."""
    return name.startswith("._")


def unknown_types(names: Iterable[str]) -> Counter[str]:
    """Count the endings of files that have no reader but could be scans."""
    endings = (os.path.splitext(name)[1].lower() for name in names)
    return Counter(
        ending for ending in endings if ending not in READERS and ending not in BESIDE_SCANS
    )


def describe_unknown_types(unknown: Mapping[str, int]) -> str:
    """Return a message about skipped files of unknown type, or an empty string."""
    if not unknown:
        return ""
    n = sum(unknown.values())
    files = f"{n:,} {'file' if n == 1 else 'files'}"
    endings = f"({', '.join(sorted(unknown))}); known: {', '.join(sorted(READERS))}"
    return f"{files} of unknown type skipped {endings}"


def no_scans(sources: Iterable[str | Path], unknown: Mapping[str, int]) -> str:
    """Return the message that ``sources`` contain no scans."""
    summary = describe_unknown_types(unknown)
    return f"no scans in {', '.join(map(str, sources))}" + (f": {summary}" if summary else "")


def refuse_duplicates(folder: str | Path) -> None:
    """Refuse a folder with a raw and a colour image of every bag.

    Args:
        folder: folder that contains a file of ``MARKS``.

    Raises:
        ReadError: it is a complete simulated dataset or output of ``convert``. The message names
            the subfolders to use.
    """
    if (Path(folder) / "truth").is_dir() or (Path(folder) / CONVERTED).is_file():
        raise doubled_error(folder)


def doubled_error(folder: str | Path) -> ReadError:
    """Return the error for a folder or URL with two images of every bag."""
    return ReadError(
        f"{folder}: contains every bag twice, in raw/ and in colour/, and possibly the truth; "
        f"use {folder}/raw or {folder}/colour"
    )


def _first_of_each_set(paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        files = set_at(path)
        first = next(iter(files.values())) if files else path
        if first not in seen:
            seen.add(first)
            yield first
