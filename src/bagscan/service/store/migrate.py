"""Migration of a database to the newest tables, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from bagscan.service.store.database import StoreError, convert_database_errors

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Run the missing migrations.

    Raises:
        StoreError: a newer version of bagscan wrote the database.
    """
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with (
        convert_database_errors(),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise StoreError(
                f"unknown revision {current} of the store: a newer version of bagscan wrote it; "
                "upgrade bagscan"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revision(engine: Engine) -> str | None:
    """Return the revision of a database; None without tables.

    Raises:
        StoreError: the database cannot be read.
    """
    with convert_database_errors(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """Return the newest revision."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
