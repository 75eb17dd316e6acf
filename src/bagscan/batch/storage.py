"""Scans in object storage, and finished parts to it: anything that fsspec knows (``s3://``, ``gs://``, ``az://``), its own settings and credentials."""

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
from bagscan.formats.known import endings_beside

Listing = Iterator[tuple[str, dict[str, str]]]  # URL of a folder, and its files with their stamps
RETRY_S = (1.0, 5.0)  # between tries of a store that does not answer
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def is_remote(source: str | os.PathLike[str]) -> bool:
    """Whether it is a URL and not a path of this machine."""
    return "://" in str(source)


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        ConfigError: its package is not installed, or there is no such protocol.
    """
    protocol, _, place = url.partition("://")
    try:
        from fsspec.core import url_to_fs

        if "::" in place and "://" not in place:  # part of a key, and no chain of file systems
            system, _ = url_to_fs(f"{protocol}://{place.partition('/')[0]}")
            return system, system._strip_protocol(url)
        found: tuple[Any, str] = url_to_fs(url)
        return found
    except ImportError as error:
        raise ConfigError(
            f"{url}: needs a package: {how_to_install('storage')} {PACKAGES.get(protocol, '')}".rstrip()
        ) from error
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from error


@contextmanager
def _told(kind: type[BagscanError], what: str) -> Iterator[None]:
    """Errors of a store, each of which has its own, as ours."""
    try:
        yield
    except BagscanError:
        raise
    except Exception as error:
        raise kind(f"{what}: {error}") from error


def set_members(name: str) -> list[str]:
    """Names of the files that may make one scan with a file of this name, going by names alone: a PNG set, or a file and its sidecar."""
    names = png_set_names(name) or {}
    own = next((spelt for spelt in names.values() if name in spelt), None)
    if (
        own is not None
    ):  # the others in the same letters alone: every further way to write them would be a request to the store
        return [spelt[own.index(name)] for spelt in names.values()]
    stem, ending = os.path.splitext(name)
    return [name, *(stem + beside for beside in endings_beside(ending))]


def object_at(url: str) -> tuple[str, dict[str, str]] | None:
    """URL of the folder of the one file that a URL is of, and the file as :func:`listed` tells it; None where it is of none.

    Raises:
        DataError: it cannot be told. (fsspec's own ``isfile`` says no where a store does not answer.)
    """
    system, root = file_system(url)
    with _told(DataError, f"{url} cannot be listed"):
        try:
            about = system.info(root)
        except FileNotFoundError:
            return None
        if about["type"] == "directory":
            return None
        folder, _, name = root.rpartition(
            "/"
        )  # not the store's own parent, which drops empty parts
        return f"{url.partition('://')[0]}://{folder}", {name: _stamp(about)}


def absolute(source: str | os.PathLike[str]) -> str:
    """A source as other processes and nodes, which may stand elsewhere, find it; of ``file://`` the path of this machine."""
    if not is_remote(source):
        return str(Path(source).absolute())
    system, root = file_system(str(source))
    return root if _is_local(system) else str(source)


def same_place(source: str) -> str:
    """One name for what :func:`absolute` gives, however it was written."""
    if not is_remote(source):
        return str(Path(source).resolve())
    return f"{source.partition('://')[0]}://{file_system(source)[1].strip('/')}"


def _is_local(system: Any) -> bool:
    return "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))


def listed(url: str) -> Listing:
    """(URL of a folder, its files: name → what changes when the file does), in a fixed order, below a URL.

    Keys with empty parts (``a//2.tif``) make folders of their own, ``URL/a/`` with the file ``2.tif``.

    Raises:
        DataError: nothing is there, it cannot be listed, or it holds keys that cannot be fetched by their name.
    """
    system, root = file_system(url)
    protocol = url.partition("://")[0]
    if one := object_at(url):
        yield one
        return
    if "" in url.partition("://")[2].removesuffix("/").split("/")[1:]:
        raise DataError(f"{url}: cannot list an empty part alone; name the folder above it")
    with _told(DataError, f"{url} cannot be listed"):
        if not system.exists(root):
            raise DataError(f"{url}: nothing is there")
        # Not fsspec's own walk, which leaves out what it cannot list without a word.
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            inside = system.ls(folder, detail=True)
            # An object and a prefix may have one name.
            files = [about for about in inside if about["type"] != "directory"]
            yield f"{protocol}://{folder}", _stamps(files, protocol)
            folders = {about["name"] for about in inside if about["type"] == "directory"}
            if any(_is_empty_part(name, folder) for name in folders):
                yield from _below_empty_part(system, folder, protocol)
            below = (name.rstrip("/") for name in folders)
            waiting += sorted(
                (name for name in below if name.strip("/") != folder.strip("/")), reverse=True
            )
            system.invalidate_cache()  # it would keep every name that it has listed


def _is_empty_part(name: str, folder: str) -> bool:
    """True for the folder of the keys that go on with an empty part (``a//``) in a listing of ``a``."""
    return name.endswith("/") and name.strip("/") == folder.strip("/")


def _below_empty_part(system: Any, folder: str, protocol: str) -> Listing:
    """As :func:`listed`, for keys in which an empty part follows ``folder``.

    A store's ``ls`` drops the empty part, so these are listed by prefix, all at once.

    Raises:
        DataError: the store lists no such key by its prefix either.
    """
    start = f"{folder.rstrip('/')}//"
    found = system.find(folder, prefix="/", detail=True)
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for name, about in sorted(found.items()):
        if name.startswith(start) and about["type"] != "directory":
            folders.setdefault(name.rpartition("/")[0], []).append(about)
    if not folders:
        raise DataError(f"{protocol}://{start}: the store lists no such keys; rename the objects")
    for inner, files in folders.items():
        yield f"{protocol}://{inner}", _stamps(files, protocol)


def _stamps(files: Sequence[Mapping[str, Any]], protocol: str) -> dict[str, str]:
    """Stamps of the objects of one folder by the last part of their key.

    Empty objects whose key ends in ``/`` mark folders and are left out.

    Raises:
        DataError: a key reads otherwise as a URL: another object, or none, would be fetched by it.
    """
    found = {}
    for about in files:
        name = about["name"]
        if name.endswith("/") and not about.get("size"):
            continue
        if name.endswith("/") or "?versionId=" in name:
            why = "a key that ends in / or holds ?versionId= cannot be fetched"
            raise DataError(f"{protocol}://{name}: {why}; rename the object")
        found[name.rpartition("/")[2]] = _stamp(about)
    return found


def join(folder: str, name: str) -> str:
    """Path or URL of a file of a folder; a URL keeps its empty parts."""
    return f"{folder}/{name}" if is_remote(folder) else os.path.join(folder, name)


def _stamp(about: Mapping[str, Any]) -> str:
    result = next(
        (
            about[key]
            for key in (
                "ETag",
                "etag",
                "md5Hash",
                "content_md5",
                "mtime",
                "LastModified",
                "created",
            )
            if about.get(key)
        ),
        "",
    )
    return f"{about.get('size')} {result}".replace('"', "")


@contextmanager
def fetched(views: Sequence[Mapping[str, str]]) -> Iterator[tuple[dict[str, Path], dict[str, str]]]:
    """Files of a bag on this machine: by name of the view, and what local paths begin with → what they stand for.

    Raises:
        ReadError: one cannot be fetched.
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
    """Fetch an object, three times before the store counts as gone.

    Raises:
        FileNotFoundError: it is not there. UnavailableError: the store does not answer, or not to us.
    """
    for wait_s in (*RETRY_S, None):
        try:
            system.get_file(path, str(target))
            return
        except FileNotFoundError:
            raise
        except Exception as error:  # every store has errors of its own
            if wait_s is None:
                raise UnavailableError(f"{path} cannot be fetched: {error}") from error
            time.sleep(wait_s)


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A row with what local paths stand for in place of them."""
    if isinstance(value, str):
        for local, remote in names.items():
            value = value.replace(local, remote)
        return value
    if isinstance(value, dict):
        return {key: renamed(one, names) for key, one in value.items()}
    return [renamed(one, names) for one in value] if isinstance(value, (list, tuple)) else value


def claim(url: str, about: Path) -> None:
    """Mark a folder in object storage as that of one run, whose parts have the names of any other run's.

    Raises:
        ConfigError: it is another run's.
    """
    system, root = file_system(url)
    mark = f"{root.rstrip('/')}/_batch.json"  # readers of Parquet folders pass over what begins with a line
    with _told(DataError, f"{url} cannot be written"):
        if _is_local(system):
            Path(root).mkdir(parents=True, exist_ok=True)  # object storage has no folders to make
        if not system.exists(mark):
            system.pipe_file(mark, about.read_bytes())
        elif system.cat_file(mark) != about.read_bytes():
            raise ConfigError(f"{url} holds the parts of another run; give another --to")


def publish(parts: Sequence[Path], url: str, missing_only: bool = False) -> None:
    """Copy finished parts to a folder in object storage.

    Args:
        missing_only: leave those that are there in the same size.

    Raises:
        DataError: it cannot be written there.
    """
    system, root = file_system(url)
    for part in parts:
        target = f"{root.rstrip('/')}/{part.name}"
        with _told(DataError, f"{url} cannot be written"):
            if not (
                missing_only
                and system.exists(target)
                and system.info(target)["size"] == part.stat().st_size
            ):
                system.put_file(str(part), target)
