"""Run migrations on the database of the settings: the environment's, or the running stack's."""

from __future__ import annotations

from sqlalchemy import create_engine, pool

from alembic import context
from tenure import settings
from tenure.model import Base

config = context.config
url = settings.load().require_database_url() if not context.is_offline_mode() else "postgresql://"
url = url.replace("postgresql://", "postgresql+psycopg://", 1).replace(
    "postgres://", "postgresql+psycopg://", 1
)

if context.is_offline_mode():
    context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        # A migration that cannot get its lock gives up instead of stopping everybody behind it.
        connection.exec_driver_sql("SET lock_timeout = '5s'")
        # Two migrations at once take turns; the second finds nothing to do.
        connection.exec_driver_sql("SELECT pg_advisory_lock(7305808)")
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()
