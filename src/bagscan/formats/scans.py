"""Scans on disk: find them, read any of them, one bad file never ends a run."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bagscan.core import Scan, View
from bagscan.core.errors import ReadError, absent
from bagscan.formats.headerless import beside
from bagscan.formats.images import png_header, png_set_of, read_png_set
from bagscan.formats.known import READERS, ScanFormat, endings_beside
from bagscan.formats.limits import check_size, naming

__all__ = ["READERS", "ScanFormat", "find_scans", "read_scan", "read_view", "read_views"]

VIEWS = ("below", "side")  # as files' names end in them
LONE = "0"  # the view of a file that is not named by view
RECIPE = "recipe.json"  # lies in the folder of a simulated data set
CONVERTED = "converted.json"  # what convert wrote, and by which calibration
MARKS = (RECIPE, CONVERTED)  # of folders with a raw and a colour image of every bag
NO_TEXT = "its name is no text in UTF-8, which no result could be written by; rename it"
SAME_TYPE = {".tiff": ".tif", ".jpeg": ".jpg"}
BESIDE_SCANS = frozenset(
    {"", ".csv", ".html", ".json", ".log", ".md", ".parquet", ".txt", ".xml", ".yaml", ".yml"}
)  # nobody takes these for scans


def read_scan(path: str | Path) -> Scan:
    """Read one scan: an image, a stack, a bag of several views, or any file of a 16-bit PNG set.

    Returns:
        A scan whose id is the file's stem (without ``_low`` and the like) and whose provenance
        holds path and SHA-256 of every file. Most files hold one view, HDF5 may hold several.

    Raises:
        ReadError: the file is absent, empty, truncated, too large, of an unknown or a wrong type;
            the message names the file.
    """
    path = Path(path)
    if as_text(path.name) != path.name or (
        "\\x" in path.name and not os.path.lexists(path)
    ):  # as it is, or as an archive's index has it
        raise ReadError(f"{as_text(str(path))}: {NO_TEXT}")
    check_size(path)
    with naming(
        path, "scan"
    ):  # whatever a reader meets, a file that went away and a View that refuses its pixels among it
        files = set_at(path)
        if files:
            read: View | tuple[View, ...] = read_png_set(files)
            scan_id = _set_name(path)
        else:
            reader = READERS.get(path.suffix.lower())
            if reader is None:
                raise ReadError(
                    f"{path}: unknown type {path.suffix!r}; known: {', '.join(sorted(READERS))}"
                )
            read, scan_id = reader(path), path.stem
        digest = hashlib.sha256()
        for file in files_of(path):
            digest.update(file.read_bytes())
        views = read if isinstance(read, tuple) else (read,)
        return Scan(scan_id, views, provenance={"path": str(path), "sha256": digest.hexdigest()})


def read_view(path: str | Path) -> View:
    """The only view of a scan.

    Raises:
        ReadError: as :func:`read_scan`; also for a file that holds several views.
    """
    return only_view(read_scan(path))


def only_view(scan: Scan) -> View:
    """The view of a scan that has one: annotations, crops and shapes are of one view.

    Raises:
        ReadError: it has several.
    """
    if len(scan.views) > 1:
        names = ", ".join(view.view_id for view in scan.views)
        raise ReadError(
            f"{scan.provenance.get('path', scan.id)}: holds the views {names}; expected a file of one view"
        )
    return scan.views[0]


def files_of(path: Path) -> list[Path]:
    """Every file that a scan is read from: those of its PNG set, or the file and its sidecar."""
    return list(set_at(path).values()) or [path, *beside(path, endings_beside(path.suffix))]


def read_views(files: Mapping[str, Path]) -> tuple[Scan | None, dict[str, str]]:
    """One bag from one file a view, or from one file of all its views.

    Args:
        files: by name of the view.

    Returns:
        The scan of every view that can be read, None where there is none, and by view what is wrong with the others.
    """
    read, errors = {}, {}
    for name, path in files.items():
        try:
            read[name] = read_scan(path)
            if len(files) > 1 and len(read[name].views) > 1:
                del read[name]
                errors[name] = (
                    f"{path}: holds several views, and its name says that it is one of {', '.join(files)}"
                )
        except ReadError as error:
            errors[name] = str(error)
    if not read:
        return None, errors
    first = next(iter(read.values()))
    if len(first.views) > 1:
        return first, errors
    if len(files) == 1:
        view = next(iter(read))
        return (
            first
            if view == LONE
            else replace(
                first, id=bag_of(files[view], files), views=(replace(first.views[0], view_id=view),)
            )
        ), errors
    views = tuple(replace(scan.views[0], view_id=name) for name, scan in read.items())
    digest = hashlib.sha256(
        "".join(scan.provenance["sha256"] for scan in read.values()).encode()
    ).hexdigest()
    return Scan(
        bag_of(next(iter(files.values())), files),
        views,
        first.scanner,
        {"path": str(next(iter(files.values()))), "sha256": digest},
    ), errors


def bag_of(path: Path, names: Iterable[str]) -> str:
    """Id of the bag that a view's file belongs to: its stem, or that of its set, without the name of the view."""
    return _bag_and_view(scan_id_of(path), names)[0]


def group_views(files: Sequence[Path], names: Sequence[str]) -> list[dict[str, Path]]:
    """Files of one bag together: ``7_below.png`` and ``7_side.png`` of one folder; every other file by itself.

    Args:
        files: one of each PNG set, as :func:`find_scans` gives them. names: of views, as they end the names of files or sets.
    """
    folders: dict[Path, list[tuple[str, str, bool]]] = {}
    for path in files:
        is_set = bool(set_at(path))
        folders.setdefault(path.parent, []).append(
            (path.name, _set_name(path) if is_set else path.stem, is_set)
        )
    return [
        {view: folder / name for view, name in found.items()}
        for folder, inside in folders.items()
        for _, found in grouped(inside, names)
    ]


def grouped(
    files: Iterable[tuple[str, str, bool]], names: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """The one rule by which files of a folder become bags: (id, file of each view).

    Files that differ in the name of a view alone belong together where they are of one type; a picture beside a set of the same name
    is another bag, and no file ever takes another's place.

    Args:
        files: name, id and whether it stands for a 16-bit PNG set.
    """
    bags: dict[tuple[str, str], dict[str, str]] = {}
    for name, scan_id, is_set in files:
        bag, view = _bag_and_view(scan_id, names)
        ending = os.path.splitext(name)[1].lower()
        key = (bag, "set" if is_set else SAME_TYPE.get(ending, ending)) if view else (scan_id, name)
        if (view or LONE) in bags.get(key, {}):
            key = (scan_id, name)
        bags.setdefault(key, {})[view or LONE] = name
    return [(bag, found) for (bag, _), found in bags.items()]


def _bag_and_view(scan_id: str, names: Iterable[str]) -> tuple[str, str]:
    """Id of the bag and name of the view that an id tells; no view where nothing would be left of the id."""
    folded = scan_id.lower()
    view = next(
        (
            name
            for name in names
            if folded.endswith(f"_{name.lower()}") and len(scan_id) > len(name) + 1
        ),
        "",
    )
    return (scan_id[: -len(view) - 1] if view else scan_id), view


def view_named_by(scan_id: str, names: Iterable[str]) -> str:
    """Name of the view that an id ends in, ``7_below``, in any letters; empty for none."""
    return _bag_and_view(scan_id, names)[1]


def as_text(name: str) -> str:
    r"""A name as text that can be written anywhere. Bytes that are no UTF-8 become ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def views_made(bags: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Views that a scanner makes of a bag, going by the names of views of the bags that are there: those of the bags that have several.

    None where no bag has several: a lone ``7_side`` may be half of a bag then, and what its name is one of is expected.
    """
    made: dict[str, None] = {}
    for views in bags:
        if len(several := list(views)) > 1:
            made |= dict.fromkeys(several)
    return tuple(made)


def expected_of(views: Collection[str], made: Sequence[str]) -> tuple[str, ...]:
    """Views that a bag should have: all that its scanner makes, where its files are named by view."""
    return tuple(made) if LONE not in views else ()


def set_at(path: Path) -> dict[str, Path]:
    """Files of the 16-bit PNG set that ``path`` is one of, by channel; empty for a scan of one file.

    One 16-bit member makes a set of all: a broken one beside it is then reported, not passed over,
    while two 8-bit pictures that happen to be called ``_low`` and ``_high`` are two scans.
    """
    files = png_set_of(path)
    return files if files and any(_is_16_bit(file) for file in files.values()) else {}


def stamp_of(path: Path) -> str:
    """What changes when a file, or one of its set, does, without reading it; a file that is gone has none."""
    summary = []
    for file in files_of(path):
        try:
            known = file.stat()
            summary.append(f"{known.st_size} {known.st_mtime_ns}")
        except OSError:
            summary.append("gone")
    return " ".join(summary)


def scan_id_of(path: Path) -> str:
    """The file's stem, without ``_low`` and the like where it is one of a set."""
    return _set_name(path) if set_at(path) else path.stem


def _set_name(path: Path) -> str:
    return path.stem.rpartition("_")[0]


def _is_16_bit(file: Path) -> bool:
    try:
        return (
            file.is_file() and png_header(file)[2] == 16
        )  # a pipe would keep whoever opens it waiting
    except (ReadError, OSError):
        return False


def find_scans(paths: Iterable[str | Path], unknown: Counter[str] | None = None) -> list[Path]:
    """Every scan in the given files and folders (recursive), sorted, one path per PNG set.

    A file that is named directly is always kept, whatever its type, so that its error is reported.

    Args:
        unknown: counts the endings of files in folders that are passed over, see :func:`unknown_types`.

    Raises:
        ReadError: a path does not exist, cannot be listed, or holds a set that shows every bag twice.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(Path(folder, name) for folder, _, names in walk(path) for name in names)
            for mark in (p for p in inside if p.name in MARKS):
                refuse_doubled(mark.parent)
            found += [
                p for p in inside if p.suffix.lower() in READERS and not is_shadow(p.name)
            ]  # links to nothing and pipes are rows, too
            if unknown is not None:
                unknown.update(unknown_types(p.name for p in inside))
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise ReadError(absent(path))
    return list(_one_per_set(dict.fromkeys(found)))


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every folder below one, with its folders and files, in a fixed order; links to folders are followed, each folder once.

    Raises:
        ReadError: a folder that may not be looked into: what lies there must not be missed without a word.
    """

    def refuse(error: OSError) -> None:
        raise ReadError(f"{error.filename}: this folder cannot be listed: {error.strerror}")

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:  # by another way, or round and round
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders.sort()
        yield place, folders, files


def is_shadow(name: str) -> bool:
    """Whether a file is what macOS lays beside another on foreign disks (AppleDouble)."""
    return name.startswith("._")


def unknown_types(names: Iterable[str]) -> Counter[str]:
    """Endings of files that no reader takes and that may yet be scans, and how many of each."""
    endings = (os.path.splitext(name)[1].lower() for name in names)
    return Counter(
        ending for ending in endings if ending not in READERS and ending not in BESIDE_SCANS
    )


def told_types(unknown: Mapping[str, int]) -> str:
    """What is said of files that are passed over; empty for none."""
    if not unknown:
        return ""
    n = sum(unknown.values())
    return f"{n:,} {'file' if n == 1 else 'files'} of unknown type passed over ({', '.join(sorted(unknown))}); known: {', '.join(sorted(READERS))}"


def no_scans(sources: Iterable[str | Path], unknown: Mapping[str, int]) -> str:
    """What is said where there is nothing to take."""
    summary = told_types(unknown)
    return f"no scans in {', '.join(map(str, sources))}" + (f": {summary}" if summary else "")


def refuse_doubled(folder: str | Path) -> None:
    """Of a whole simulated data set, or of all that ``convert`` wrote, one picture of each bag should be taken.

    Args:
        folder: one that holds one of ``MARKS``.

    Raises:
        ReadError: the folder is such a set; the message names the folders that can be taken.
    """
    if (Path(folder) / "truth").is_dir() or (Path(folder) / CONVERTED).is_file():
        raise doubled_error(folder)


def doubled_error(folder: str | Path) -> ReadError:
    """What is said of a set that shows every bag in two kinds of image, in a folder or at a URL."""
    return ReadError(
        f"{folder}: shows every bag twice, in raw/ and in colour/, and may hold the truth as well: take {folder}/raw or {folder}/colour"
    )


def _one_per_set(paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        files = set_at(path)
        first = next(iter(files.values())) if files else path
        if first not in seen:
            seen.add(first)
            yield first
