"""Alembic's entry: the connection is handed in by :mod:`bagscan.service.store.migrate`."""

from alembic import context

from bagscan.service.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
