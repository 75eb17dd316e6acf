"""Accounts and simulated bags of ``bagscan serve --demo``."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bagscan.core.errors import BagscanError, ConfigError
from bagscan.formats.scans import VIEWS, group_views
from bagscan.service import accounts
from bagscan.service.inference.intake import Busy, checked_upload
from bagscan.service.service import Service
from bagscan.service.store import tables

log = logging.getLogger(__name__)

PASSWORD = "demo-bagscan"
PEOPLE = {"olga": "operator", "omar": "operator", "susan": "supervisor", "ada": "admin"}


def make_accounts(service: Service) -> None:
    """Create the demo accounts, which share a publicly known password, in an empty store.

    Raises:
        BagscanError: the store has other accounts.
    """
    with service.store.read() as connection:
        existing = set(connection.execute(select(tables.accounts.c.name)).scalars())
    if existing and existing != set(PEOPLE):
        others = ", ".join(sorted(existing - set(PEOPLE))) or "not those of the demo"
        raise BagscanError(
            "--demo uses accounts with a publicly known password, but this store has other "
            f"accounts ({others}); choose another --folder, or start without --demo"
        )
    if not existing:
        password_hash = accounts.hash_password(PASSWORD)
        for name, role in PEOPLE.items():
            _create_account(service, name, role, password_hash)
    people = ", ".join(f"{name} ({role})" for name, role in PEOPLE.items())
    log.info(f"Log in as {people}; password {PASSWORD}")


def _create_account(service: Service, name: str, role: str, password_hash: str) -> None:
    service.store.write(
        lambda connection: accounts.create_account(
            connection, service.auditor, "demo", name, role, password_hash
        )
    )


def refuse_demo_accounts(service: Service) -> None:
    """Check that no account has the publicly known password of the demo.

    Raises:
        ConfigError: an enabled demo account still has this password.
    """
    query = select(tables.accounts).where(
        tables.accounts.c.name.in_(PEOPLE),
        tables.accounts.c.disabled.is_(False),
        tables.accounts.c.password_hash.is_not(None),
    )
    with service.store.read() as connection:
        rows = connection.execute(query).all()
    unsafe = [row.name for row in rows if accounts.is_password(row.password_hash, PASSWORD)]
    if unsafe:
        raise ConfigError(
            f"this store was created with --demo and has accounts ({', '.join(sorted(unsafe))}) "
            "with a publicly known password; choose another --folder, or set new passwords: "
            "bagscan store account NAME --password"
        )


def fill_queue(service: Service, count: int = 12) -> None:
    """Simulate bags and submit both views of each. A repeated call continues where it stopped."""
    from bagscan.simulate.dataset import load_recipe, simulate  # slow to import

    folder = service.config.folder / "demo"
    try:
        simulate(load_recipe("demo", count, None, None), folder, 1)
        service.truths |= load_truths(folder)
        for files in group_views(sorted((folder / "raw").glob("*.tif")), VIEWS):
            _submit(service, list(files.values()))
        log.info(f"demo: {count} simulated bags are in the queue")
    except BagscanError as error:
        log.info(f"demo: {error}")


def load_truths(folder: Path) -> dict[str, str]:
    """Return a sentence for each scan of a simulated set, by scan id, saying what it hides."""
    records = (json.loads(path.read_text()) for path in sorted((folder / "scans").glob("*.json")))
    return {scan["id"]: _describe_truth(scan) for record in records for scan in record["scans"]}


def _describe_truth(scan: dict[str, Any]) -> str:
    anomaly = scan.get("anomaly")
    if not anomaly:
        return "Nothing is hidden in it."
    kind, device, way = (
        name.replace("_", " ") for name in (anomaly["kind"], scan["device"], anomaly["way"])
    )
    return f"Hidden in it: {kind}, in or on a {device} ({way})."


def _submit(service: Service, paths: list[Path]) -> None:
    upload = checked_upload([(path.name, path.read_bytes()) for path in paths], "simulated", "demo")
    while True:
        try:
            service.intake.take_in(upload, None, f"demo:{upload.digest}")
            return
        except Busy:
            time.sleep(1)
