"""Access to object storage: list and fetch scans, publish finished parts.

Any file system of fsspec works (``s3://``, ``gs://``, ``az://``, ...), with its own settings and
credentials.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bagscan.core.errors import BagscanError, ConfigError, DataError, ReadError, UnavailableError
from bagscan.core.extras import how_to_install
from bagscan.formats.images import png_set_names
from bagscan.formats.known import companion_endings

Listing = Iterator[tuple[str, dict[str, str]]]  # URL of a directory, stamps of its files by name
RETRY_S = (1.0, 5.0)  # waits between attempts to fetch an object
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def is_remote(source: str | os.PathLike[str]) -> bool:
    """Return True for a URL, False for a local path."""
    return "://" in str(source)


def file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it.

    Raises:
        ConfigError: the protocol is unknown, or its package is not installed.
    """
    protocol, _, key = url.partition("://")
    try:
        from fsspec.core import url_to_fs

        # Without a second protocol, "::" belongs to the key and does not chain file systems.
        if "::" in key and "://" not in key:
            system, _ = url_to_fs(f"{protocol}://{key.partition('/')[0]}")
            return system, system._strip_protocol(url)
        system_and_path: tuple[Any, str] = url_to_fs(url)
        return system_and_path
    except ImportError as error:
        command = f"{how_to_install('storage')} {PACKAGES.get(protocol, '')}".rstrip()
        raise ConfigError(f"{url}: a package is missing; run {command}") from error
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from error


@contextmanager
def _converted_errors(kind: type[BagscanError], prefix: str) -> Iterator[None]:
    """Raise errors of a store as ``kind``; every store has exception types of its own."""
    try:
        yield
    except BagscanError:
        raise
    except Exception as error:
        raise kind(f"{prefix}: {error}") from error


def set_members(name: str) -> list[str]:
    """Return the names of all files that can form a scan with a file of this name.

    These are the files of a PNG set, or the file and its sidecars. No file is read.
    """
    names = png_set_names(name) or {}
    own = next((spellings for spellings in names.values() if name in spellings), None)
    if own is not None:
        # Only in the spelling (case) of ``name``: each other spelling costs a request to the store.
        return [spellings[own.index(name)] for spellings in names.values()]
    stem, ending = os.path.splitext(name)
    return [name, *(stem + beside for beside in companion_endings(ending))]


def object_at(url: str) -> tuple[str, dict[str, str]] | None:
    """Look up the object at a URL.

    fsspec's ``isfile`` is not used, since it returns False if the store does not answer.

    Returns:
        URL of its directory, and name and stamp as in :func:`list_folders`; None if the URL is a
        directory or does not exist.

    Raises:
        DataError: the store does not answer.
    """
    system, root = file_system(url)
    with _converted_errors(DataError, f"{url} cannot be listed"):
        try:
            about = system.info(root)
        except FileNotFoundError:
            return None
        if about["type"] == "directory":
            return None
        # The store's own parent property drops empty key components.
        folder, _, name = root.rpartition("/")
        return f"{url.partition('://')[0]}://{folder}", {name: _stamp(about)}


def absolute(source: str | os.PathLike[str]) -> str:
    """Return a source as an absolute path or URL; a ``file://`` URL becomes a path."""
    if not is_remote(source):
        return str(Path(source).absolute())
    system, root = file_system(str(source))
    return root if _is_local(system) else str(source)


def canonical_source(source: str) -> str:
    """Return the canonical form of a result of :func:`absolute`."""
    if not is_remote(source):
        return str(Path(source).resolve())
    return f"{source.partition('://')[0]}://{file_system(source)[1].strip('/')}"


def _is_local(system: Any) -> bool:
    return "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))


def list_folders(url: str) -> Listing:
    """Yield every directory below a URL, and its files, in a fixed order.

    Keys with an empty component (``a//2.tif``) form a directory of their own, ``URL/a/``, with the
    file ``2.tif``.

    Yields:
        URL of a directory, and its files: name → stamp, which changes with the object.

    Raises:
        DataError: the URL does not exist or cannot be listed, or it holds keys that cannot be
            fetched by their name.
    """
    system, root = file_system(url)
    protocol = url.partition("://")[0]
    if entry := object_at(url):
        yield entry
        return
    if "" in url.partition("://")[2].removesuffix("/").split("/")[1:]:
        raise DataError(f"{url}: cannot list an empty key component; name the folder above it")
    with _converted_errors(DataError, f"{url} cannot be listed"):
        if not system.exists(root):
            raise DataError(f"{url}: nothing is there")
        # fsspec's walk silently skips directories that it cannot list.
        pending = [root]
        while pending:
            folder = pending.pop()
            entries = system.ls(folder, detail=True)
            # An object and a directory can have the same name.
            files = [about for about in entries if about["type"] != "directory"]
            yield f"{protocol}://{folder}", _stamps(files, protocol)
            folders = {about["name"] for about in entries if about["type"] == "directory"}
            if any(_is_empty_component(name, folder) for name in folders):
                yield from _list_below_empty_component(system, folder, protocol)
            children = (name.rstrip("/") for name in folders)
            pending += sorted(
                (name for name in children if name.strip("/") != folder.strip("/")), reverse=True
            )
            system.invalidate_cache()  # the cache would hold every name of the archive


def _is_empty_component(name: str, folder: str) -> bool:
    """Return True if ``name``, in a listing of ``a``, stands for keys that begin with ``a//``."""
    return name.endswith("/") and name.strip("/") == folder.strip("/")


def _list_below_empty_component(system: Any, folder: str, protocol: str) -> Listing:
    """Yield as :func:`list_folders`, for keys in which an empty component follows ``folder``.

    A store's ``ls`` drops the empty component, so these keys are listed by prefix, all at once.

    Raises:
        DataError: the store does not list these keys by prefix either.
    """
    start = f"{folder.rstrip('/')}//"
    objects = system.find(folder, prefix="/", detail=True)
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for name, about in sorted(objects.items()):
        if name.startswith(start) and about["type"] != "directory":
            folders.setdefault(name.rpartition("/")[0], []).append(about)
    if not folders:
        raise DataError(f"{protocol}://{start}: the store lists no such keys; rename the objects")
    for inner, files in folders.items():
        yield f"{protocol}://{inner}", _stamps(files, protocol)


def _stamps(files: Sequence[Mapping[str, Any]], protocol: str) -> dict[str, str]:
    """Return the stamps of the objects of one directory by the last component of their key.

    Empty objects whose key ends in ``/`` mark directories and are left out.

    Raises:
        DataError: a key has another meaning as a URL, which would fetch another object or fail.
    """
    stamps = {}
    for about in files:
        name = about["name"]
        if name.endswith("/") and not about.get("size"):
            continue
        if name.endswith("/") or "?versionId=" in name:
            why = "a key that ends in / or holds ?versionId= cannot be fetched"
            raise DataError(f"{protocol}://{name}: {why}; rename the object")
        stamps[name.rpartition("/")[2]] = _stamp(about)
    return stamps


def join(folder: str, name: str) -> str:
    """Return the path or URL of a file in a directory; a URL keeps its empty components."""
    return f"{folder}/{name}" if is_remote(folder) else os.path.join(folder, name)


# Entries of which one changes with an object; every store has other ones.
_STAMP_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "created")


def _stamp(about: Mapping[str, Any]) -> str:
    version = next((about[key] for key in _STAMP_KEYS if about.get(key)), "")
    return f"{about.get('size')} {version}".replace('"', "")


@contextmanager
def fetch_bag(
    views: Sequence[Mapping[str, str]],
) -> Iterator[tuple[dict[str, Path], dict[str, str]]]:
    """Fetch the files of a bag; copies from object storage are deleted at the end.

    Args:
        views: ``view_id`` and ``path`` of every view.

    Yields:
        Local files by view name, and the start of their local paths → the URL that it stands for
        (empty for local files).

    Raises:
        ReadError: an object does not exist.
        UnavailableError: the store does not answer, or refuses access.
    """
    if not any(is_remote(view["path"]) for view in views):
        yield {view["view_id"]: Path(view["path"]) for view in views}, {}
        return
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        files = {view["view_id"]: _fetch(view["path"], Path(folder)) for view in views}
        yield files, {f"{folder}/": views[0]["path"].rpartition("/")[0] + "/"}


def _fetch(url: str, folder: Path) -> Path:
    system, path = file_system(url)
    parent, _, name = path.rpartition("/")
    for member in set_members(name):
        try:
            _get(system, f"{parent}/{member}", folder / member)
        except FileNotFoundError as error:
            if member == name:
                raise ReadError(f"{url}: no such object") from error
    return folder / name


def _get(system: Any, path: str, target: Path) -> None:
    """Fetch an object, in at most three attempts.

    Raises:
        FileNotFoundError: the object does not exist.
        UnavailableError: the store does not answer, or refuses access.
    """
    for wait_s in (*RETRY_S, None):
        try:
            system.get_file(path, str(target))
            return
        except FileNotFoundError:
            raise
        except Exception as error:  # every store has exception types of its own
            if wait_s is None:
                raise UnavailableError(f"{path} cannot be fetched: {error}") from error
            time.sleep(wait_s)


def rename_keys(value: Any, names: Mapping[str, str]) -> Any:
    """Replace local paths by the URLs that they stand for, in all strings of a row.

    Args:
        value: a string, or nested dictionaries, lists and tuples.
        names: start of a local path → URL, from :func:`fetch_bag`.
    """
    if isinstance(value, str):
        for local, remote in names.items():
            value = value.replace(local, remote)
        return value
    if isinstance(value, dict):
        return {key: rename_keys(entry, names) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rename_keys(entry, names) for entry in value]
    return value


def claim(url: str, about: Path) -> None:
    """Reserve a directory in object storage for a run, since parts of all runs have equal names.

    Args:
        url: the directory.
        about: ``_batch.json`` of the run, which is copied there.

    Raises:
        ConfigError: the directory belongs to another run.
        DataError: the directory cannot be written.
    """
    system, root = file_system(url)
    # Readers of Parquet directories skip names that begin with an underscore.
    mark = f"{root.rstrip('/')}/_batch.json"
    with _converted_errors(DataError, f"{url} cannot be written"):
        if _is_local(system):  # object storage has no directories to create
            Path(root).mkdir(parents=True, exist_ok=True)
        if not system.exists(mark):
            system.pipe_file(mark, about.read_bytes())
        elif system.cat_file(mark) != about.read_bytes():
            raise ConfigError(f"{url} holds the parts of another run; give another --to")


def publish(parts: Sequence[Path], url: str, missing_only: bool = False) -> None:
    """Copy finished parts to a directory in object storage.

    Args:
        parts: files of the parts.
        url: the directory.
        missing_only: skip parts that exist there with the same size.

    Raises:
        DataError: the directory cannot be written.
    """
    system, root = file_system(url)
    for part in parts:
        target = f"{root.rstrip('/')}/{part.name}"
        with _converted_errors(DataError, f"{url} cannot be written"):
            is_published = (
                missing_only
                and system.exists(target)
                and system.info(target)["size"] == part.stat().st_size
            )
            if not is_published:
                system.put_file(str(part), target)
