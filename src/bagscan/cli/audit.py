"""``bagscan audit``: check and export the audit records of the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.store import FOLDER, Database, Folder, open_store
from bagscan.cli.terminal import AsJson

audit_app = typer.Typer(
    no_args_is_help=True, help="Check and export the audit records of the service."
)

EXIT_BROKEN = 3


@audit_app.command("verify")
def audit_verify(
    folder: Folder = FOLDER,
    database: Database = "",
    records: Annotated[
        Path | None,
        typer.Option(help="Check records that bagscan audit export wrote, not the store."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Copy of the public key. By default, audit.pub in the folder."),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(help="Copy of the head. By default, audit.head in the folder, if present."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the audit chain.

    Checks sequence numbers, hashes, signatures, and that the chain reaches the stored head. The
    exit code is 3 if the chain is broken. To detect changes by an intruder on the machine of the
    service, keep copies of the public key and of the head elsewhere, and check against them.
    """
    from bagscan.service import audit

    public_key = audit.read_public_key(key or folder)
    # Read the head first: a running service appends records, and the chain must reach the head.
    stored_head = audit.read_head(head or folder / "audit.head", must=head is not None)
    problems: list[str] = []
    if records is not None:
        chain = _read_records(records)
    else:
        chain, problems = _stored_records(folder, database)
    problems = audit.verify(chain, public_key, stored_head) + problems
    summary = {
        "records": len(chain),
        "head": stored_head["seq"] if stored_head else None,
        "wrong": problems,
    }
    if as_json:
        text = json.dumps(summary)
    elif problems:
        text = "\n".join(problems)
    elif stored_head:
        text = f"{len(chain)} records, the chain is whole and reaches head {stored_head['seq']}"
    else:
        text = (
            f"{len(chain)} records, the chain is whole; there is no stored head, "
            "so missing records at the end cannot be detected"
        )
    typer.echo(text)
    if problems:
        raise typer.Exit(EXIT_BROKEN)


@audit_app.command("head")
def audit_head(folder: Folder = FOLDER) -> None:
    """Print the head of the audit chain, to be kept elsewhere.

    With the head, bagscan audit verify detects that records at the end were removed.
    """
    from bagscan.service.audit import AuditError, read_head

    head = read_head(folder / "audit.head")
    if head is None:
        raise AuditError(
            f"{folder}: audit.head is missing; give the --folder that bagscan serve uses"
        )
    typer.echo(json.dumps(head))


@audit_app.command("export")
def audit_export(
    out: Annotated[Path, typer.Argument(help="File to write (JSON lines).")],
    folder: Folder = FOLDER,
    database: Database = "",
) -> None:
    """Write all audit records, to be checked on another machine.

    Check them with bagscan audit verify --records FILE.
    """
    records, _ = _stored_records(folder, database)
    out.write_text("".join(json.dumps(record) + "\n" for record in records))
    typer.echo(f"{len(records)} records written to {out}")


def _stored_records(folder: Path, database: str) -> tuple[list[dict[str, Any]], list[str]]:
    from bagscan.service import audit
    from bagscan.service.review.statistics import decisions_without_record

    with open_store(folder, database) as store, store.read() as connection:
        return audit.read_records(connection), decisions_without_record(connection)


def _read_records(path: Path) -> list[dict[str, Any]]:
    from bagscan.service.audit import FIELDS, AuditError

    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: cannot read exported records: {error}") from error
    required = {*FIELDS, "hash", "signature"}
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or not required <= set(record):
            raise AuditError(
                f"{path}: line {number} is not an audit record; "
                "give a file that bagscan audit export wrote"
            )
    return records
