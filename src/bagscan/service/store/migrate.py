"""Bring a database to the newest tables (alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from bagscan.service.store.database import StoreError, naming_faults

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Run the migrations that a database lacks.

    Raises:
        StoreError: the database was written by a newer bagscan.
    """
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with (
        naming_faults(),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        at = MigrationContext.configure(connection).get_current_revision()
        if at is not None and at not in known:
            raise StoreError(
                f"the store is of revision {at}, which this bagscan does not know: it was written by a newer one"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revision(engine: Engine) -> str | None:
    """The revision that a database is at.

    Raises:
        StoreError: it cannot be read.
    """
    with naming_faults(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The newest revision there is."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
