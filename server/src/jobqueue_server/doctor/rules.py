"""What the numbers that were read mean. Pure: each function takes what was read, and answers findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..condition import Condition
from ..core.insight.warnings import of_servers
from ..core.insight.workers import ServerSeen
from ..core.upkeep.standstill import REMEDY
from .findings import Finding, Grade

Row = Mapping[str, Any]

OLDEST_POSTGRES = 150_000
#: The alert JobQueueSnapshotHeld has the same bounds.
LONG_SNAPSHOT = timedelta(minutes=15)
MOST_SLOT_BYTES = 10 << 30
MOST_DEAD_ROWS = 1_000_000
#: A table that is smaller is never called bloated.
LEAST_BLOAT_BYTES = 1 << 30
#: Rows of the tables that change often take a few hundred bytes, with all their indexes.
BYTES_A_ROW = 2_000
#: Of the connections that PostgreSQL allows, so many in a hundred.
MANY_CONNECTIONS = 90
#: The alert JobQueuePartitionsLate has the same bound: 90 minutes.
LEAST_AHEAD = timedelta(minutes=90)
#: PostgreSQL stops to take writes near 2,100 million; autovacuum begins at 200 million.
OLD_XIDS, LAST_XIDS = 1_000_000_000, 1_800_000_000
CLOCKS_APART, CLOCKS_FAR_APART = timedelta(seconds=1), timedelta(seconds=30)
#: The alert JobQueueCertificate has the same bounds.
CERTIFICATE_SOON, CERTIFICATE_NOW = timedelta(days=14), timedelta(days=2)


def of_postgres(row: Row, undurable: Sequence[str]) -> Iterator[Finding]:
    """Version, standby, what survives a crash."""
    tls = "over TLS" if row["encrypted"] else "without TLS"
    seen = f"PostgreSQL {row['version']}, {tls}"
    if row["version_number"] < OLDEST_POSTGRES:
        yield Finding("PostgreSQL", Grade.BROKEN, seen, "15 or later", "upgrade PostgreSQL")
    elif row["standby"]:
        yield Finding(
            "PostgreSQL",
            Grade.BROKEN,
            f"{seen}; it is a standby, or still recovers, and takes no writes",
            "the primary",
            "name the primary in DATABASE_URL, or all hosts with target_session_attrs=read-write; promote this one "
            "if the primary is lost",
        )
    else:
        yield Finding("PostgreSQL", Grade.OK, seen)
    if undurable:
        yield Finding(
            "durability",
            Grade.BROKEN,
            f"{', '.join(undurable)}: a crash may lose jobs that were acknowledged",
            "fsync, full_page_writes and synchronous_commit are on",
            "alter system set ... = on, then select pg_reload_conf()",
        )
    else:
        yield Finding("durability", Grade.OK, "fsync, full_page_writes and synchronous_commit are on")
    yield from _of_checksums(row)


def _of_checksums(row: Row) -> Iterator[Finding]:
    if row["checksum_failures"]:
        yield Finding(
            "checksums",
            Grade.BROKEN,
            f"{row['checksum_failures']} pages of this database were not as they were written",
            "none",
            "stop the servers, and restore a backup into a new cluster: the disk under this one loses data",
        )
    elif not row["checksums"]:
        yield Finding("checksums", Grade.NOTE, "off: PostgreSQL does not notice what a disk changes")
    else:
        yield Finding("checksums", Grade.OK, "on, and no page failed")


def of_standbys(names: str, standbys: Sequence[Row]) -> Iterator[Finding]:
    """Whether a commit waits for a standby, and whether one is there."""
    connected = ", ".join(str(row["name"]) for row in standbys) or "none"
    if not names:
        grade = Grade.OK if standbys else Grade.NOTE
        lost = "the loss of its host loses " + (
            "the last moment" if standbys else "all since the last backup"
        )
        yield Finding("standby", grade, f"no commit waits for one; connected: {connected}; {lost}")
    elif not standbys:
        yield Finding(
            "standby",
            Grade.BROKEN,
            f"commits wait for {names}, and no standby is connected: no enqueue is answered",
            "a standby is connected",
            "start it; or give it up by alter system set synchronous_standby_names = '' and select pg_reload_conf()",
        )
    elif all(row["sync_state"] == "async" for row in standbys):
        yield Finding(
            "standby",
            Grade.BROKEN,
            f"commits wait for {names}, and of those connected ({connected}) it is none",
            "a standby of such a name",
            "set application_name in primary_conninfo of the standby",
        )
    else:
        yield Finding("standby", Grade.OK, f"commits wait for {names}; connected: {connected}")


def of_connections(row: Row, pool: int) -> Finding:
    """Whether there are connections left."""
    used, most = row["connections"], row["connections_most"]
    seen = f"{used} of {most} are taken; each process of a server takes up to {pool}"
    if used * 100 > most * MANY_CONNECTIONS:
        return Finding(
            "connections",
            Grade.WARNING,
            seen,
            f"at most {MANY_CONNECTIONS} % of them",
            "pg_stat_activity says whose they are; raise max_connections, or lower JOBQUEUE_DB_POOL_SIZE",
        )
    return Finding("connections", Grade.OK, seen)


def of_xids(row: Row) -> Finding:
    """How far it is to the end of transaction numbers."""
    millions = row["xid_age"] // 1_000_000
    if row["xid_age"] < OLD_XIDS:
        return Finding("transaction numbers", Grade.OK, f"the oldest is {millions} million old")
    grade = Grade.BROKEN if row["xid_age"] >= LAST_XIDS else Grade.WARNING
    return Finding(
        "transaction numbers",
        grade,
        f"the oldest is {millions} million old; near 2,100 million PostgreSQL takes no writes",
        "below 1,000 million",
        "end old transactions, slots and prepared transactions, then vacuum (freeze, verbose) this database",
    )


def of_snapshot(condition: Condition, who: str | None) -> Finding:
    """Who keeps dead rows from being removed."""
    seconds = int(condition.snapshot_seconds)
    if who is None or seconds < LONG_SNAPSHOT.total_seconds():
        return Finding("oldest snapshot", Grade.OK, f"{seconds} s old" if who else "none")
    return Finding(
        "oldest snapshot",
        Grade.WARNING,
        f"{who} has kept dead rows for {seconds} s; claims become slower",
        f"less than {LONG_SNAPSHOT.total_seconds():g} s",
        "docs/runbook.md, JobQueueSnapshotHeld: end the session, drop the slot, roll the prepared transaction back",
    )


def of_slots(slots: Sequence[Row]) -> Iterator[Finding]:
    """Replication slots that keep WAL."""
    if not slots:
        yield Finding("slots", Grade.OK, "none")
    for slot in slots:
        mib = slot["bytes"] >> 20
        seen = f"{slot['name']} keeps {mib} MiB of WAL"
        if slot["active"] and slot["bytes"] < MOST_SLOT_BYTES:
            yield Finding("slots", Grade.OK, seen)
            continue
        grade = Grade.BROKEN if slot["bytes"] >= MOST_SLOT_BYTES else Grade.WARNING
        yield Finding(
            "slots",
            grade,
            seen if slot["active"] else f"{seen}, and no client reads it: the disk fills",
            f"a client reads it, and it keeps less than {MOST_SLOT_BYTES >> 30} GiB",
            f"start its client; or, if it is forgotten, select pg_drop_replication_slot('{slot['name']}')",
        )


def of_tables(vacuums: bool, dead: Mapping[str, int], sizes: Sequence[Row]) -> Iterator[Finding]:
    """Dead rows, and tables that are mostly air."""
    if not vacuums:
        yield Finding(
            "vacuum", Grade.BROKEN, "autovacuum or track_counts is off: dead rows stay for ever",
            "both are on", "alter system set autovacuum = on (and track_counts), then select pg_reload_conf()",
        )  # fmt: skip
    bad = False
    for table, rows in dead.items():
        if rows > MOST_DEAD_ROWS:
            bad = True
            yield Finding(
                "dead rows", Grade.WARNING, f"{table} has {rows:,}", f"at most {MOST_DEAD_ROWS:,}",
                f"mend what keeps them (oldest snapshot, slots), then vacuum {table}",
            )  # fmt: skip
    for each in sizes:
        size = each["bytes"]
        if size > LEAST_BLOAT_BYTES and size > BYTES_A_ROW * max(each["rows"], 1):
            bad = True
            yield Finding(
                "bloat", Grade.WARNING, f"{each['name']} takes {size >> 20} MiB for {each['rows']:,} rows",
                f"at most {BYTES_A_ROW:,} bytes a row",
                f"reindex table concurrently {each['name']}; vacuum full stands still, so only while servers are "
                "stopped",
            )  # fmt: skip
    if vacuums and not bad:
        yield Finding("dead rows", Grade.OK, f"{sum(dead.values()):,} in tables that change often")


def of_partitions(condition: Condition) -> Finding:
    """Whether there is a place for the jobs of now and of the time ahead."""
    ahead = condition.partitions["ahead"]
    seen = f"{ahead} ahead of time, each of {condition.partition_seconds / 3600:g} h"
    if not condition.partitions["present"]:
        return Finding(
            "partitions",
            Grade.BROKEN,
            "there is none of the present: every enqueue fails",
            "one of now, and two ahead",
            "start a server, which makes them; its log says why it can't: `could not make partitions`",
        )
    if ahead * condition.partition_seconds < LEAST_AHEAD.total_seconds():
        return Finding(
            "partitions",
            Grade.WARNING,
            seen,
            f"{LEAST_AHEAD.total_seconds() / 60:g} minutes ahead at least",
            "docs/runbook.md, JobQueuePartitionsLate: locks, rights or room; does a server run?",
        )
    return Finding("partitions", Grade.OK, seen)


def of_retention(condition: Condition) -> Finding:
    """Whether what is beyond the retention goes."""
    seconds = condition.retention_lag_seconds
    if seconds > 2 * condition.partition_seconds:
        return Finding(
            "retention",
            Grade.WARNING,
            f"jobs that were due to go {seconds / 3600:.1f} h ago are there: the disk fills",
            f"at most {2 * condition.partition_seconds / 3600:g} h",
            "docs/runbook.md, JobQueueRetentionStands: locks, a wrong clock; does a server run?",
        )
    return Finding("retention", Grade.OK, "what is beyond it goes")


def of_fleet(servers: Sequence[ServerSeen]) -> Iterator[Finding]:
    """The servers that wrote heartbeats into this database."""
    live = [server for server in servers if not server.silent]
    warnings = list(of_servers(servers))
    for warning in warnings:
        yield Finding(
            "servers", Grade.WARNING, warning.message, "all are heard, and of one version", warning.remedy
        )
    if not live:
        yield Finding("servers", Grade.NOTE, "none runs on this database")
    elif not warnings:
        named = ", ".join(server.name for server in live[:5]) + (" and more" if len(live) > 5 else "")
        yield Finding("servers", Grade.OK, f"{len(live)} of one version: {named}")


def of_clock(ahead: timedelta) -> Finding:
    """How far the clock of this host is from the database's."""
    seconds = ahead.total_seconds()
    seen = f"this host is {abs(seconds):.3f} s {'ahead of' if seconds >= 0 else 'behind'} the database"
    if abs(ahead) < CLOCKS_APART:
        return Finding("clock", Grade.OK, seen)
    grade = Grade.BROKEN if abs(ahead) > CLOCKS_FAR_APART else Grade.WARNING
    return Finding(
        "clock", grade, seen, f"less than {CLOCKS_APART.total_seconds():g} s",
        "set both by NTP; docs/clocks.md says what a wrong clock costs",
    )  # fmt: skip


def of_certificate(left: timedelta) -> Finding:
    """How long the server's certificate is good."""
    days = left / timedelta(days=1)
    if left > CERTIFICATE_SOON:
        return Finding("certificate", Grade.OK, f"good for {days:.0f} days")
    grade = Grade.BROKEN if left < CERTIFICATE_NOW else Grade.WARNING
    seen = f"good for {days:.1f} days" if left > timedelta() else "over: no client can connect"
    return Finding(
        "certificate", grade, seen, f"more than {CERTIFICATE_SOON.days} days",
        "renew the files of JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY: servers take them without a restart",
    )  # fmt: skip


def of_rights(lacking: Sequence[Row]) -> Finding:
    """What the role of the service can't do."""
    if not lacking:
        return Finding("rights", Grade.OK, "this role may do all that a server does")
    named = "; ".join(f"{row['name']}: {row['lacks']}" for row in lacking[:5])
    more = f"; and of {len(lacking) - 5} more" if len(lacking) > 5 else ""
    return Finding(
        "rights",
        Grade.BROKEN,
        f"this role lacks {named}{more}",
        "all that `migrate up` grants",
        "jobqueue-server migrate up, with JOBQUEUE_MIGRATE_DATABASE_URL of the owner and DATABASE_URL of this role",
    )


def of_standstill(row: Row, *, asked: bool) -> Finding:
    """Whether jobs are handed out. `asked`: whether the settings begin a standstill."""
    if row["since"] is not None:
        seen = (
            f"nothing is handed out since {row['since'].isoformat(timespec='seconds')}, by {row['begun_by']}"
        )
        return Finding("standstill", Grade.WARNING, seen, "none", f"jobqueue-server report, then {REMEDY}")
    if asked and row["resumed_at"] is not None:
        seen = f"JOBQUEUE_START is paused, and {row['resumed_by']} has resumed"
        return Finding(
            "standstill",
            Grade.WARNING,
            seen,
            "running",
            "take JOBQUEUE_START away, or a restart may stand",
        )
    return Finding("standstill", Grade.OK, "none")


def of_texts(about: str, grade: Grade, texts: Iterable[str]) -> Iterator[Finding]:
    """Sentences of other parts, `what is wrong: what to do`."""
    for text in texts:
        seen, _, remedy = text.partition(": ")
        yield Finding(about, grade, seen, do=remedy)
