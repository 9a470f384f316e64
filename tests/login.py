"""A database and a role for the service, and each way in which PostgreSQL can refuse that role."""

from __future__ import annotations

from uuid import uuid4

from tests.conftest import Cluster

PASSWORD = "swordfish"
HOWS = ("connect revoked", "nologin", "renamed", "closed", "password changed", "no connection left")


class Login:
    """A migrated database, and a role for the service that owns nothing; both can be closed to it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.database = cluster.create()
        self.role = f"service_{uuid4().hex[:8]}"
        self.run(f"create role {self.role} login password '{PASSWORD}'")
        self.dsn = cluster.dsn_of(self.database, user=self.role, password=PASSWORD)
        self.owner_dsn = cluster.dsn_of(self.database)

    def run(self, *queries: str) -> None:
        for query in queries:
            self.cluster.execute(query)

    def hang_up(self) -> None:
        """Ends every connection to the database."""
        self.run(
            f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{self.database}'"
        )

    def rename(self, old: str, new: str) -> None:
        """Nobody may be connected meanwhile."""
        self.run(f'alter database "{old}" allow_connections false')
        self.run(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{old}'")
        self.run(
            f'alter database "{old}" rename to "{new}"', f'alter database "{new}" allow_connections true'
        )

    def refuse(self, how: str) -> None:
        match how:
            case "connect revoked":
                self.run(f'revoke connect on database "{self.database}" from public')
            case "nologin":
                self.run(f"alter role {self.role} nologin")
            case "renamed":
                self.rename(self.database, f"{self.database}_elsewhere")
            case "closed":
                self.run(f'alter database "{self.database}" allow_connections false')
            case "password changed":
                self.run(f"alter role {self.role} password 'another'")
            case "no connection left":
                self.run(f"alter role {self.role} connection limit 0")

    def let_in(self, how: str) -> None:
        match how:
            case "connect revoked":
                self.run(f'grant connect on database "{self.database}" to public')
            case "nologin":
                self.run(f"alter role {self.role} login")
            case "renamed":
                self.rename(f"{self.database}_elsewhere", self.database)
            case "closed":
                self.run(f'alter database "{self.database}" allow_connections true')
            case "password changed":
                self.run(f"alter role {self.role} password '{PASSWORD}'")
            case "no connection left":
                self.run(f"alter role {self.role} connection limit -1")
