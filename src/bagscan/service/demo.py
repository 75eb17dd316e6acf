"""What ``bagscan serve --demo`` fills the queue with: simulated bags, and accounts to try everything as."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bagscan.core.errors import BagscanError, ConfigError
from bagscan.formats.scans import VIEWS, group_views
from bagscan.service import accounts
from bagscan.service.inference.intake import Busy, checked_upload
from bagscan.service.service import Service
from bagscan.service.store import tables

PASSWORD = "demo-bagscan"
PEOPLE = {"olga": "operator", "omar": "operator", "susan": "supervisor", "ada": "admin"}
Report = Callable[[str], None]


def make_accounts(service: Service, report: Report) -> None:
    """Two operators, a supervisor and an admin, all of one password that is no secret.

    Raises:
        BagscanError: the store has other accounts already, which such a password must not open.
    """
    with service.store.read() as connection:
        known = set(connection.execute(select(tables.accounts.c.name)).scalars())
    if known and known != set(PEOPLE):
        others = ", ".join(sorted(known - set(PEOPLE))) or "not those of the demo"
        raise BagscanError(
            f"--demo uses accounts with a publicly known password, and this store has other accounts ({others}); give another --folder, or start without --demo"
        )
    if not known:
        password_hash = accounts.hash_password(PASSWORD)
        for name, role in PEOPLE.items():
            service.store.write(
                lambda connection, name=name, role=role: accounts.create_account(
                    connection, service.auditor, "demo", name, role, password_hash
                )
            )  # type: ignore[misc]
    report(
        f"Log in as {', '.join(f'{name} ({role})' for name, role in PEOPLE.items())}; password {PASSWORD}"
    )


def refuse_demo_accounts(service: Service) -> None:
    """Require of a service that is no demonstration that nobody can log in by the password that everybody knows.

    Raises:
        ConfigError: an account of the demonstration still has it.
    """
    there = select(tables.accounts).where(
        tables.accounts.c.name.in_(PEOPLE),
        tables.accounts.c.disabled.is_(False),
        tables.accounts.c.password_hash.is_not(None),
    )
    with service.store.read() as connection:
        rows = connection.execute(there).all()
    open_to_all = [row.name for row in rows if accounts.is_password(row.password_hash, PASSWORD)]
    if open_to_all:
        message = "with a publicly known password. Give another --folder, or set new passwords: bagscan store account NAME --password"
        raise ConfigError(
            f"this store was made by --demo and has accounts ({', '.join(sorted(open_to_all))}) {message}"
        )


def fill_queue(service: Service, report: Report, count: int = 12) -> None:
    """Simulate bags and send them in, both views of each; the same line goes on where it was stopped."""
    from bagscan.simulate.dataset import load_recipe, simulate  # takes its time to load

    folder = service.config.folder / "demo"
    try:
        simulate(load_recipe("demo", count, None, None), folder, 1, None, lambda text: None)
        service.truths |= told_truths(folder)
        for files in group_views(sorted((folder / "raw").glob("*.tif")), VIEWS):
            _send(service, list(files.values()))
        report(f"demo: {count} simulated bags are in the queue")
    except BagscanError as error:
        report(f"demo: {error}")


def told_truths(folder: Path) -> dict[str, str]:
    """What is hidden in every scan of a simulated set, in words, by the scan's id."""
    records = (json.loads(path.read_text()) for path in sorted((folder / "scans").glob("*.json")))
    return {scan["id"]: _in_words(scan) for record in records for scan in record["scans"]}


def _in_words(scan: dict[str, Any]) -> str:
    hidden = scan.get("anomaly")
    if not hidden:
        return "Nothing is hidden in it."
    kind, device, way = (
        name.replace("_", " ") for name in (hidden["kind"], scan["device"], hidden["way"])
    )
    return f"Hidden in it: {kind}, in or on a {device} ({way})."


def _send(service: Service, paths: list[Path]) -> None:
    upload = checked_upload([(path.name, path.read_bytes()) for path in paths], "simulated", "demo")
    while True:
        try:
            service.intake.take_in(upload, None, f"demo:{upload.digest}")
            return
        except Busy:
            time.sleep(1)
