"""Reader of scans of any format, and the grouping of files into bags."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bagscan.core import Scan, View
from bagscan.core.errors import ReadError
from bagscan.formats.images import read_png_set
from bagscan.formats.known import READERS, ScanFormat
from bagscan.formats.limits import check_size, naming
from bagscan.formats.scan_files import (
    CONVERTED,
    MARKS,
    RECIPE,
    as_text,
    change_stamp,
    describe_unknown_types,
    doubled_error,
    files_of,
    find_scans,
    is_appledouble,
    no_scans,
    refuse_duplicates,
    scan_id_of,
    set_at,
    set_name,
    unknown_types,
    walk,
)

__all__ = [
    "CONVERTED",
    "MARKS",
    "READERS",
    "RECIPE",
    "ScanFormat",
    "as_text",
    "doubled_error",
    "files_of",
    "find_scans",
    "is_appledouble",
    "no_scans",
    "read_scan",
    "read_view",
    "read_views",
    "refuse_duplicates",
    "scan_id_of",
    "set_at",
    "change_stamp",
    "describe_unknown_types",
    "unknown_types",
    "walk",
]

VIEWS = ("below", "side")  # endings of file names, such as 7_below.png
LONE = "0"  # view name of a file that is not named by view
NO_TEXT = "the file name is not UTF-8, so that results cannot refer to it; rename the file"
SAME_TYPE = {".tiff": ".tif", ".jpeg": ".jpg"}


def read_scan(path: str | Path) -> Scan:
    """Read a scan: an image, a stack, a file of several views, or any file of a 16-bit PNG set.

    Returns:
        A scan whose id is the file's stem (without ``_low`` and the like) and whose provenance
        contains the path and the SHA-256 of all files. HDF5 files can contain several views, other
        files contain one.

    Raises:
        ReadError: the file is missing, empty, truncated, too large, or of an unknown or a wrong
            type; the message names the file.
    """
    path = Path(path)
    # The name is given as bytes of the file system, or escaped in the index of an archive.
    if as_text(path.name) != path.name or ("\\x" in path.name and not os.path.lexists(path)):
        raise ReadError(f"{as_text(str(path))}: {NO_TEXT}")
    check_size(path)
    with naming(path, "scan"):  # also for a file that disappears, or pixels that View refuses
        files = set_at(path)
        if files:
            read: View | tuple[View, ...] = read_png_set(files)
            scan_id = set_name(path)
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
    """Read the view of a scan with a single view.

    Raises:
        ReadError: as :func:`read_scan`; also for a file of several views.
    """
    return only_view(read_scan(path))


def only_view(scan: Scan) -> View:
    """Return the view of a scan with a single view, such as an annotated image or a crop.

    Raises:
        ReadError: the scan has several views.
    """
    if len(scan.views) > 1:
        names = ", ".join(view.view_id for view in scan.views)
        path = scan.provenance.get("path", scan.id)
        raise ReadError(f"{path}: contains the views {names}; expected a file of one view")
    return scan.views[0]


def read_views(files: Mapping[str, Path]) -> tuple[Scan | None, dict[str, str]]:
    """Read a bag from one file per view, or from a single file of all views.

    Args:
        files: files by view name.

    Returns:
        The scan of all views that can be read, or None if there are none; and the error messages
        of the other views by view name.
    """
    read, errors = {}, {}
    for name, path in files.items():
        try:
            read[name] = read_scan(path)
            if len(files) > 1 and len(read[name].views) > 1:
                del read[name]
                names = ", ".join(files)
                errors[name] = (
                    f"{path}: contains several views; "
                    f"expected one view, since its name ends in one of {names}"
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
        if view == LONE:
            return first, errors
        named = replace(first.views[0], view_id=view)
        return replace(first, id=bag_of(files[view], files), views=(named,)), errors
    views = tuple(replace(scan.views[0], view_id=name) for name, scan in read.items())
    digests = "".join(scan.provenance["sha256"] for scan in read.values())
    path = next(iter(files.values()))
    provenance = {"path": str(path), "sha256": hashlib.sha256(digests.encode()).hexdigest()}
    return Scan(bag_of(path, files), views, first.scanner, provenance), errors


def bag_of(path: Path, names: Iterable[str]) -> str:
    """Return the bag id of a view's file: its scan id without the view name.

    Args:
        path: the file.
        names: names of views.
    """
    return _bag_and_view(scan_id_of(path), names)[0]


def group_views(files: Sequence[Path], names: Sequence[str]) -> list[dict[str, Path]]:
    """Group files into bags, such as ``7_below.png`` and ``7_side.png`` of the same folder.

    Args:
        files: files as returned by :func:`find_scans`, with a single file per PNG set.
        names: names of views, as endings of file or set names.

    Returns:
        The files of each bag by view name.
    """
    folders: dict[Path, list[tuple[str, str, bool]]] = {}
    for path in files:
        is_set = bool(set_at(path))
        folders.setdefault(path.parent, []).append(
            (path.name, set_name(path) if is_set else path.stem, is_set)
        )
    return [
        {view: folder / name for view, name in bag.items()}
        for folder, inside in folders.items()
        for _, bag in group_files(inside, names)
    ]


def group_files(
    files: Iterable[tuple[str, str, bool]], names: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """Group the files of a folder to bags.

    Files of the same type whose names differ only by the view are a bag. An image and a PNG set
    are never the same bag, and each view of a bag has a single file.

    Args:
        files: name, scan id, and True for a 16-bit PNG set, of each file.
        names: names of views.

    Returns:
        Bag id, and file names by view name, of each bag.
    """
    bags: dict[tuple[str, str], dict[str, str]] = {}
    for name, scan_id, is_set in files:
        bag, view = _bag_and_view(scan_id, names)
        ending = os.path.splitext(name)[1].lower()
        file_type = "set" if is_set else SAME_TYPE.get(ending, ending)
        key = (bag, file_type) if view else (scan_id, name)
        if (view or LONE) in bags.get(key, {}):
            key = (scan_id, name)
        bags.setdefault(key, {})[view or LONE] = name
    return [(bag, views) for (bag, _), views in bags.items()]


def _bag_and_view(scan_id: str, names: Iterable[str]) -> tuple[str, str]:
    """Split a scan id into bag id and view name; the view is empty if the id has none."""
    folded = scan_id.lower()
    views = (
        name
        for name in names
        if folded.endswith(f"_{name.lower()}") and len(scan_id) > len(name) + 1
    )
    view = next(views, "")
    return (scan_id[: -len(view) - 1] if view else scan_id), view


def view_named_by(scan_id: str, names: Iterable[str]) -> str:
    """Return the view name at the end of a scan id (case-insensitive), or an empty string."""
    return _bag_and_view(scan_id, names)[1]


def scanner_views_of(bags: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return the view names of all bags with several views: the views that the scanner makes.

    The result is empty if every bag has a single view. A lone ``7_side`` can then be an incomplete
    bag, and the caller has to expect all view names.

    Args:
        bags: the view names of each bag.
    """
    made: dict[str, None] = {}
    for bag in bags:
        if len(views := list(bag)) > 1:
            made |= dict.fromkeys(views)
    return tuple(made)


def expected_of(views: Collection[str], made: Sequence[str]) -> tuple[str, ...]:
    """Return the expected views of a bag: all that the scanner makes, if files are named by view.

    Args:
        views: view names of the bag.
        made: view names that the scanner makes, see :func:`scanner_views_of`.
    """
    return tuple(made) if LONE not in views else ()
