"""Backup of a service in one tar file, which can be restored into SQLite or PostgreSQL.

The tar holds every table as JSON lines, every file, and a manifest with the files' hashes.
It includes the audit key and password hashes: protect it like the service's folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, insert, select, text

from bagscan import __version__
from bagscan.core.errors import absent
from bagscan.core.files import atomic_write
from bagscan.service.audit import newest_head
from bagscan.service.retention import find_referenced
from bagscan.service.store.database import Store, StoreError, convert_database_errors
from bagscan.service.store.files import Files
from bagscan.service.store.migrate import migrate, newest, revision
from bagscan.service.store.tables import metadata

log = logging.getLogger(__name__)

FORMAT = 1
KEYS = ("audit.key", "audit.pub", "audit.head")
Members = Mapping[str, tarfile.TarInfo]


def back_up(store: Store, folder: Path, out: Path) -> dict[str, Any]:
    """Write a backup with a consistent snapshot of the tables; the service may keep running.

    Returns:
        ``out``: path of the tar; ``rows``, ``files``: their numbers; ``bytes``: size of the tar.

    Raises:
        StoreError: ``out`` exists.
    """
    if out.exists():
        raise StoreError(f"{out} exists; choose another name")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "bagscan": __version__,
        "revision": revision(store.engine),
        "created_at": time.time(),
        "rows": {},
        "files": {},
    }
    with (
        atomic_write(out) as temporary,
        open(temporary, "wb", opener=_open_private) as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        with store.read() as connection:
            head = newest_head(connection)
            for table in metadata.sorted_tables:
                rows = [
                    json.dumps(dict(row)) for row in connection.execute(select(table)).mappings()
                ]
                manifest["rows"][table.name] = len(rows)
                _add(tar, f"tables/{table.name}.jsonl", "\n".join(rows).encode())
        # While the service runs, only the sweep removes files. A file that it removes before it
        # is copied here is reported as missing by ``restore``.
        for path in _kept_files(folder):
            name = path.relative_to(folder).as_posix()
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            if name == "audit.head" and head is not None:  # the head of the copied records
                content = json.dumps(head).encode()
            manifest["files"][name] = hashlib.sha256(content).hexdigest()
            _add(tar, name, content)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    log.info(f"{sum(manifest['rows'].values())} rows, {len(manifest['files'])} files in {out}")
    return {
        "out": str(out),
        "rows": sum(manifest["rows"].values()),
        "files": len(manifest["files"]),
        "bytes": out.stat().st_size,
    }


def restore(path: Path, folder: Path, engine: Engine) -> dict[str, Any]:
    """Restore a backup into an empty folder and an empty database, checking every file's hash.

    Returns:
        ``folder``; ``rows``, ``files``: numbers of those restored; ``lost``: number of files that
        scans refer to but the backup lacks.

    Raises:
        StoreError: the file is missing, damaged, not a backup or of another revision; or the
            folder or database is not empty.
    """
    used = ((folder / "objects").exists() and any((folder / "objects").iterdir())) or any(
        (folder / name).exists() for name in KEYS
    )
    if used:
        raise StoreError(f"{folder}: holds a store already; restore into a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(path) as tar:
            members = {member.name: member for member in tar}
            manifest = json.loads(_read(tar, members, "manifest.json"))
            if manifest.get("format") != FORMAT or manifest.get("revision") != newest():
                raise StoreError(
                    f"{path}: the backup has revision {manifest.get('revision')}, but this bagscan "
                    f"restores {newest()}; restore it with the bagscan that wrote it, then upgrade"
                )
            migrate(engine)
            _check_empty(engine)
            for name, digest in manifest["files"].items():
                content = _read(tar, members, name)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise StoreError(f"{path}: {name} is damaged")
                target = (folder / name).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise StoreError(f"{path}: {name} is outside the service's folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb", opener=_open_private) as file:
                    file.write(content)
            # Last, since the rows refer to the files.
            rows = _restore_tables(tar, members, engine, manifest)
    except FileNotFoundError as error:
        raise StoreError(absent(path, "file")) from error
    except (tarfile.TarError, KeyError, ValueError, OSError) as error:
        message = f"{path}: not a complete bagscan backup: {str(error).splitlines()[0]}"
        raise StoreError(message) from error
    with convert_database_errors(), engine.connect() as connection:
        lost = sorted(find_referenced(connection) - set(Files(folder / "objects").digests()))
    missing = f"; {len(lost)} files that scans refer to are not in the backup" if lost else ""
    log.info(f"{rows} rows, {len(manifest['files'])} files restored into {folder}{missing}")
    return {"folder": str(folder), "rows": rows, "files": len(manifest["files"]), "lost": len(lost)}


def _check_empty(engine: Engine) -> None:
    with convert_database_errors(), engine.connect() as connection:
        for table in metadata.sorted_tables:
            if connection.execute(select(func.count()).select_from(table)).scalar_one():
                raise StoreError(f"the database is not empty: table {table.name} has rows")


def _restore_tables(
    tar: tarfile.TarFile, members: Members, engine: Engine, manifest: dict[str, Any]
) -> int:
    total = 0
    with (
        convert_database_errors(),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        for table in metadata.sorted_tables:
            rows = [
                json.loads(line)
                for line in _read(tar, members, f"tables/{table.name}.jsonl").splitlines()
            ]
            if len(rows) != manifest["rows"][table.name]:
                raise StoreError(f"table {table.name} is damaged")
            if rows:
                connection.execute(insert(table), rows)
            total += len(rows)
            column = table.autoincrement_column
            if engine.dialect.name == "postgresql" and column is not None:
                # Inserting explicit numbers does not advance PostgreSQL's sequences.
                highest = max((row[column.name] for row in rows), default=0)
                connection.execute(
                    text("SELECT setval(pg_get_serial_sequence(:table, :column), :to, :used)"),
                    {
                        "table": table.name,
                        "column": column.name,
                        "to": max(1, highest),
                        "used": bool(rows),
                    },
                )
    return total


def _open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read, since it may hold keys."""
    return os.open(path, flags, 0o600)


def _kept_files(folder: Path) -> list[Path]:
    found = [folder / name for name in KEYS if (folder / name).is_file()]
    for kind in ("objects", "models"):
        found += sorted(
            path
            for path in (folder / kind).rglob("*")
            if path.is_file() and ".new-" not in str(path)
        )
    return found


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), int(time.time()), 0o600
    tar.addfile(info, io.BytesIO(content))


def _read(tar: tarfile.TarFile, members: Members, name: str) -> bytes:
    file = tar.extractfile(members[name])  # looking up a name would scan all members each time
    if file is None:
        raise StoreError(f"{name} is missing in the backup")
    return file.read()
