"""``bagscan serve``, ``bagscan audit`` and ``bagscan store``: nothing heavy is imported until a command needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

audit_app = typer.Typer(no_args_is_help=True, help="Check who did what, off line.")
store_app = typer.Typer(
    no_args_is_help=True, help="Back up, restore and export what the service keeps."
)

Folder = Annotated[Path, typer.Option(help="The service's folder.")]
Database = Annotated[
    str,
    typer.Option(help="SQLAlchemy URL, as given to serve; SQLite within the folder by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
FOLDER = Path("bagscan-service")
EXIT_BROKEN = 3


def serve(
    folder: Annotated[
        Path | None, typer.Option(help="The service's folder; bagscan-service by default.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL; SQLite within the folder by default.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; others than 127.0.0.1 belong behind a proxy that ends TLS. 127.0.0.1 by default."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on; 8765 by default.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that screen, each on one core; 1 by default."),
    ] = None,
    watch: Annotated[
        list[Path],
        typer.Option(help="A folder that a scanner writes into; may be given several times."),
    ] = [],  # noqa: B006
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Fill the queue with simulated bags, and make four accounts to try."
        ),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    settings: Annotated[
        list[str],
        typer.Option("--set", help="Change one setting, for example --set second_reader=all."),
    ] = [],  # noqa: B006
) -> None:
    """Screen scans over HTTP and from watched folders, with a page for reviewers."""
    from dataclasses import replace

    from bagscan.service.settings import read_settings

    given: dict[str, Any] = {
        "folder": folder,
        "database": database,
        "host": host,
        "port": port,
        "workers": workers,
        "watch": tuple(watch) or None,
    }
    read = read_settings(config, settings)
    from bagscan.service.run import (
        run,
    )  # late: settings are checked before anything heavy is loaded

    shown: dict[str, Any] = (
        {"reviewed": "all", "tip_rate": 0.2} if demo else {}
    )  # so that there is something of everything to see
    run(
        replace(
            read, **shown, **{name: value for name, value in given.items() if value is not None}
        ),
        demo,
    )


@audit_app.command("verify")
def audit_verify(
    folder: Folder = FOLDER,
    database: Database = "",
    records: Annotated[
        Path | None,
        typer.Option(help="Records as bagscan audit export wrote them, in place of the store."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="The public key, kept elsewhere; audit.pub of the folder by default."),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(help="A head, kept elsewhere; audit.head of the folder by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the audit chain: numbers, hashes, signatures, and that it reaches the head that was kept."""
    from bagscan.service import audit

    public_key = audit.read_public_key(key or folder)
    kept = audit.read_head(head or folder / "audit.head", must=head is not None)
    wrong: list[str] = []
    if records is not None:
        read = _read_records(records)
    else:
        read, wrong = _stored_records(folder, database)
    wrong = audit.verify(read, public_key, kept) + wrong
    summary = {"records": len(read), "head": kept["seq"] if kept else None, "wrong": wrong}
    text = f"{len(read)} records, the chain is whole" + (
        f" and reaches head {kept['seq']}"
        if kept
        else "; no head was kept, so a cut tail cannot be told"
    )
    typer.echo(json.dumps(summary) if as_json else "\n".join(wrong) if wrong else text)
    if wrong:
        raise typer.Exit(EXIT_BROKEN)


@audit_app.command("head")
def audit_head(folder: Folder = FOLDER) -> None:
    """Print the head of the chain: write it down elsewhere, and nobody can cut the tail off unseen."""
    from bagscan.service.audit import AuditError, read_head

    head = read_head(folder / "audit.head")
    if head is None:
        raise AuditError(f"{folder}: no head yet; has bagscan serve run here?")
    typer.echo(json.dumps(head))


@audit_app.command("export")
def audit_export(
    out: Annotated[Path, typer.Argument(help="File to write: JSON lines.")],
    folder: Folder = FOLDER,
    database: Database = "",
) -> None:
    """Write every record, to be checked with bagscan audit verify --records on another machine."""
    read, _ = _stored_records(folder, database)
    out.write_text("".join(json.dumps(record) + "\n" for record in read))
    typer.echo(f"{len(read)} records in {out}")


@store_app.command("backup")
def store_backup(
    out: Annotated[Path, typer.Argument(help="Tar to write; it holds keys and password hashes.")],
    folder: Folder = FOLDER,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Back up the store, while the service runs or not: rows, images, models, keys."""
    from bagscan.service.backup import back_up

    with _opened(folder, database) as store:
        summary = back_up(store, folder, out, _say)
    typer.echo(json.dumps(summary) if as_json else f"back-up in {out}")


@store_app.command("restore")
def store_restore(
    path: Annotated[Path, typer.Argument(help="A tar of bagscan store backup.")],
    folder: Folder = FOLDER,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Restore a back-up into a new folder and an empty database, SQLite or PostgreSQL."""
    from bagscan.service.backup import restore
    from bagscan.service.settings import ServiceConfig
    from bagscan.service.store.database import connect

    os.umask(0o077)  # as serve does: nobody else's
    folder.mkdir(parents=True, exist_ok=True)
    engine = connect(ServiceConfig(folder=folder, database=database).database_url)
    summary = restore(path, folder, engine, _say)
    engine.dispose()
    typer.echo(json.dumps(summary) if as_json else f"restored into {folder}")


@store_app.command("export")
def store_export(
    out: Annotated[
        Path, typer.Argument(help="New folder: images/, annotations.json (COCO), decisions.json.")
    ],
    folder: Folder = FOLDER,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Write decided scans as a data set that bagscan train reads."""
    from bagscan.service.review.export import export_decided
    from bagscan.service.store.files import Files

    with _opened(folder, database) as store, store.read() as connection:
        summary = export_decided(connection, Files(folder / "objects"), out, _say)
    typer.echo(json.dumps(summary) if as_json else f"data set in {out}")


@store_app.command("clock")
def store_clock(folder: Folder = FOLDER) -> None:
    """Believe this machine's clock after a jump that held up the removal of images by age."""
    from bagscan.core.errors import DataError, absent
    from bagscan.service.clock import Clock

    if not folder.is_dir():
        raise DataError(absent(folder, "folder"))
    Clock(folder).believe()
    typer.echo(f"{folder}: the clock of now is believed")


@store_app.command("account")
def store_account(
    name: Annotated[str, typer.Argument(help="Of the account.")],
    role: Annotated[
        str,
        typer.Option(
            help="scanner, operator, supervisor or admin; for a new account, which is a scanner's by default."
        ),
    ] = "",
    key: Annotated[str, typer.Option(help="Make an API key of this name, and print it.")] = "",
    password: Annotated[
        bool,
        typer.Option(
            "--password",
            help="Ask for a password; of an account that exists, it is changed and the account unlocked.",
        ),
    ] = False,
    folder: Folder = FOLDER,
    database: Database = "",
) -> None:
    """Make an account, a key, or a new password, at the service's own machine."""
    from sqlalchemy import select

    from bagscan.service import accounts
    from bagscan.service.accounts import AccountError
    from bagscan.service.audit import Auditor
    from bagscan.service.store import tables

    password_hash = (
        accounts.hash_password(
            typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
        )
        if password
        else None
    )
    with _opened(folder, database) as store:
        auditor = Auditor(folder, store)
        with store.read() as connection:
            known = connection.execute(
                select(tables.accounts.c.id).where(tables.accounts.c.name == name)
            ).scalar()
        if known is None:
            known = store.write(
                lambda connection: accounts.create_account(
                    connection, auditor, "command line", name, role or "scanner", password_hash
                )
            )
            _say(
                f"account {name}, {role or 'scanner'}"
                + (
                    ""
                    if password_hash or key
                    else "; it cannot log in yet: give it a password with --password, or a key with --key"
                )
            )
        elif role:
            raise AccountError(f"{name} exists; its role is changed under Accounts, by an admin")
        elif password_hash:
            store.write(
                lambda connection: accounts.change_account(
                    connection,
                    auditor,
                    "command line",
                    known,
                    password_hash=password_hash,
                    unlock=True,
                )
            )
            _say(f"account {name}: the password is changed")
        elif not key:
            _say(f"{name} exists: nothing to do; see --key and --password")
        if key:
            in_use = (
                tables.api_keys.c.account_id == known,
                tables.api_keys.c.name == key[:64],
                tables.api_keys.c.revoked_at.is_(None),
            )
            with store.read() as connection:
                if connection.execute(
                    select(tables.api_keys.c.id).where(*in_use)
                ).first():  # nobody could tell the two apart
                    raise AccountError(
                        f"{name} has a key {key!r} in use: revoke it under Accounts, or choose another name"
                    )
            typer.echo(
                store.write(
                    lambda connection: accounts.create_key(
                        connection, auditor, "command line", known, key
                    )
                )[1]
            )


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _opened(folder: Path, database: str) -> Any:
    """The store of a folder, closed at the end of a ``with``."""
    from contextlib import closing

    from bagscan.service.settings import ServiceConfig
    from bagscan.service.store.database import Store, StoreError, connect
    from bagscan.service.store.migrate import newest, revision

    if not database and not (folder / "store.sqlite").is_file():
        raise StoreError(f"{folder}: no store here; has bagscan serve run in this folder?")
    engine = connect(ServiceConfig(folder=folder, database=database).database_url)
    there = revision(engine)
    if there != newest():
        raise StoreError(
            f"the store is of revision {there}, this bagscan needs {newest()}; bagscan serve brings it there"
        )
    return closing(Store(engine))


def _stored_records(folder: Path, database: str) -> tuple[list[dict[str, Any]], list[str]]:
    from bagscan.service import audit
    from bagscan.service.review.statistics import decisions_without_record

    with _opened(folder, database) as store, store.read() as connection:
        return audit.read_records(connection), decisions_without_record(connection)


def _read_records(path: Path) -> list[dict[str, Any]]:
    from bagscan.service.audit import FIELDS, AuditError

    try:
        read = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: no exported records: {error}") from error
    if any(
        not isinstance(record, dict) or not {*FIELDS, "hash", "signature"} <= set(record)
        for record in read
    ):
        raise AuditError(f"{path}: a line is no audit record")
    return read
