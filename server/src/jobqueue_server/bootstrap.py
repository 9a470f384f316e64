"""The first key of an administrator, written straight into the database: no caller could be let in before it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from .core.access import keys
from .core.upkeep.audit_partitions import AuditPartitions
from .errors import DatabaseAway
from .grants import EVERYTHING
from .model import DEFAULT_NAMESPACE
from .scope import Scope, Source
from .store import migrate
from .store.access.access import AccessStore, NewKey
from .store.connect import Connector
from .store.database import Database
from .store.events.notices import Notices
from .store.lineage import Lineage
from .store.upkeep.audit_partitions import AuditPartitionStore
from .store.upkeep.retention import LocksBusy

_MAKER = Scope(DEFAULT_NAMESPACE, "bootstrap", source=Source("", "database", ""))
# The words of `core.events.notices` for a change of keys. No server has the number 0.
_KEYS_CHANGED = '{"from":0,"access":[[]]}'
# The shortest that servers may have, so the partitions are narrow: how long those of this database keep the audit log
# is not known here, and a wide partition would keep its rows longer than they say.
_AUDIT_RETENTION = timedelta(days=30)


class BootstrapRefused(Exception):
    """The key is not made. The text says why, and what to do."""


async def first_key(dsn: str, name: str, *, force: bool) -> keys.MintedKey:
    """Makes a key of the namespace `default` that permits everything.

    Args:
        dsn: The database.
        name: What the key is for.
        force: Makes it also where another key of an administrator is good.

    Raises:
        BootstrapRefused: Another key of an administrator is good, or the audit log is locked.
        MigrationError: The schema is not one that this version knows.
        DatabaseAway, DatabaseFull: The database does not answer, or has no room.
    """
    await migrate.verify(dsn)
    connector = Connector(dsn, name="jobqueue-server keys", lineage=Lineage())
    database = Database(connector, pool_size=2, acquire_timeout=timedelta(seconds=10))
    try:
        await database.open()
        await _make_room_in_audit(database)
        minted = keys.mint()
        key = NewKey(minted.id, name, minted.secret_hash, EVERYTHING, _MAKER.principal)
        if not await AccessStore(database).insert_first_key(_MAKER, key, force=force):
            raise BootstrapRefused(
                "a key of an administrator is good already: make more with `jobqueue keys create`, or, if it is lost, "
                "add --force, and revoke the lost one then"
            )
    finally:
        await database.close()
    await _tell_servers(connector)
    return minted


async def _make_room_in_audit(database: Database) -> None:
    """The partitions that the audit log needs now. No server has made them where none has run for weeks."""
    store = AuditPartitionStore(database, retention=_AUDIT_RETENTION, expected=lambda: None)
    try:
        await AuditPartitions(store).ensure()
    except LocksBusy as error:
        raise BootstrapRefused(str(error)) from error


async def _tell_servers(connector: Connector) -> None:
    """Servers that run let the key in at once. Those that do not listen find it within a second."""
    notices = Notices(connector)
    with suppress(DatabaseAway):
        await notices.open(lambda _notice: None)
        await notices.send(_KEYS_CHANGED)
    await notices.close()
