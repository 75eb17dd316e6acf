"""``bagscan store``: back up, restore and export the data of the service."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bagscan.cli.terminal import AsJson, say

if TYPE_CHECKING:
    from bagscan.service.audit import Auditor
    from bagscan.service.store.database import Store

store_app = typer.Typer(
    no_args_is_help=True, help="Back up, restore and export the data of the service."
)

FOLDER = Path("bagscan-service")
BY_COMMAND_LINE = "command line"  # who did it, in the audit records

Folder = Annotated[Path, typer.Option(help="Folder of the service.")]
Database = Annotated[
    str,
    typer.Option(
        help="SQLAlchemy URL of the database, as given to serve. "
        "By default, the SQLite file in the folder of the service."
    ),
]


@store_app.command("backup")
def store_backup(
    out: Annotated[
        Path, typer.Argument(help="Tar file to write. It contains keys and password hashes.")
    ],
    folder: Folder = FOLDER,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Back up rows, images, models and keys.

    The service can be running.
    """
    from bagscan.service.backup import back_up

    with open_store(folder, database) as store:
        summary = back_up(store, folder, out)
    typer.echo(json.dumps(summary) if as_json else f"backup written to {out}")


@store_app.command("restore")
def store_restore(
    path: Annotated[Path, typer.Argument(help="Tar file that bagscan store backup wrote.")],
    folder: Folder = FOLDER,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Restore a backup into a new folder and an empty database.

    The database can be SQLite or PostgreSQL.
    """
    from bagscan.service.backup import restore
    from bagscan.service.settings import ServiceConfig
    from bagscan.service.store.database import connect

    os.umask(0o077)  # as in serve: other users must not read the data
    folder.mkdir(parents=True, exist_ok=True)
    engine = connect(ServiceConfig(folder=folder, database=database).database_url)
    summary = restore(path, folder, engine)
    engine.dispose()
    typer.echo(json.dumps(summary) if as_json else f"restored into {folder}")


@store_app.command("export")
def store_export(
    out: Annotated[
        Path,
        typer.Argument(help="New folder, for images/, annotations.json (COCO) and decisions.json."),
    ],
    folder: Folder = FOLDER,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Write the scans that have a decision as a COCO dataset.

    bagscan train reads such a dataset.
    """
    from bagscan.service.review.export import export_decided
    from bagscan.service.store.files import Files

    with open_store(folder, database) as store, store.read() as connection:
        summary = export_decided(connection, Files(folder / "objects"), out)
    typer.echo(json.dumps(summary) if as_json else f"dataset written to {out}")


@store_app.command("clock")
def store_clock(folder: Folder = FOLDER) -> None:
    """Accept this machine's clock after it jumped.

    After a jump of the clock, the service stops removing old images until this command is run.
    """
    from bagscan.core.errors import DataError, absent
    from bagscan.service.clock import Clock

    if not folder.is_dir():
        raise DataError(absent(folder, "folder"))
    Clock(folder).believe()
    typer.echo(f"{folder}: current time accepted")


@store_app.command("account")
def store_account(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    role: Annotated[
        str,
        typer.Option(
            help="Role of a new account: scanner (default), operator, supervisor or admin."
        ),
    ] = "",
    key: Annotated[str, typer.Option(help="Create an API key of this name and print it.")] = "",
    password: Annotated[
        bool,
        typer.Option(
            "--password",
            help="Ask for a password. For an existing account, change it and unlock the account.",
        ),
    ] = False,
    folder: Folder = FOLDER,
    database: Database = "",
) -> None:
    """Create an account or an API key, or change a password.

    Run it on the machine of the service.
    """
    from sqlalchemy import select

    from bagscan.service import accounts
    from bagscan.service.accounts import AccountError
    from bagscan.service.audit import Auditor
    from bagscan.service.store import tables

    password_hash = None
    if password:
        entered = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
        password_hash = accounts.hash_password(entered)
    with open_store(folder, database) as store:
        auditor = Auditor(folder, store)
        with store.read() as connection:
            account_id = connection.execute(
                select(tables.accounts.c.id).where(tables.accounts.c.name == name)
            ).scalar()
        if account_id is None:
            role = role or "scanner"
            account_id = store.write(
                lambda connection: accounts.create_account(
                    connection, auditor, BY_COMMAND_LINE, name, role, password_hash
                )
            )
            hint = "; to log in, it needs a password (--password) or a key (--key)"
            say(f"account {name} created, role {role}{'' if password_hash or key else hint}")
        elif role:
            raise AccountError(
                f"account {name} already exists; an admin can change its role under Accounts"
            )
        elif password_hash:
            store.write(
                lambda connection: accounts.change_account(
                    connection,
                    auditor,
                    BY_COMMAND_LINE,
                    account_id,
                    password_hash=password_hash,
                    unlock=True,
                )
            )
            say(f"account {name}: password changed")
        elif not key:
            say(f"account {name} already exists; nothing was changed; use --key or --password")
        if key:
            typer.echo(_create_key(store, auditor, account_id, name, key))


def _create_key(
    store: Store, auditor: Auditor, account_id: int, account_name: str, key_name: str
) -> str:
    from sqlalchemy import select

    from bagscan.service import accounts
    from bagscan.service.store import tables

    in_use = (
        tables.api_keys.c.account_id == account_id,
        tables.api_keys.c.name == key_name[:64],
        tables.api_keys.c.revoked_at.is_(None),
    )
    with store.read() as connection:
        if connection.execute(select(tables.api_keys.c.id).where(*in_use)).first():
            raise accounts.AccountError(
                f"account {account_name} already has a key {key_name!r}; "
                "revoke it under Accounts, or choose another name"
            )
    _, secret = store.write(
        lambda connection: accounts.create_key(
            connection, auditor, BY_COMMAND_LINE, account_id, key_name
        )
    )
    return secret


def open_store(folder: Path, database: str) -> closing[Store]:
    """Open the store of a service, as a context manager that closes it.

    Raises:
        StoreError: the folder has no store, or the store has another schema revision.
    """
    from bagscan.service.settings import ServiceConfig
    from bagscan.service.store.database import Store, StoreError, connect
    from bagscan.service.store.migrate import newest, revision

    if not database and not (folder / "store.sqlite").is_file():
        raise StoreError(
            f"{folder}: store.sqlite is missing; give the --folder that bagscan serve uses"
        )
    engine = connect(ServiceConfig(folder=folder, database=database).database_url)
    found = revision(engine)
    if found != newest():
        raise StoreError(
            f"the store has schema revision {found}, but this bagscan needs {newest()}; "
            "start bagscan serve once to upgrade it"
        )
    return closing(Store(engine))
