"""What may be said of a database in a log: where it is and why it does not answer, and never the password."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import JobQueueError


def place_of(dsn: str) -> dict[str, str]:
    """Host, port and database that a DSN names, as fields of a log line. Several hosts are separated by commas."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    pairs = [_pair(each) for each in parts.netloc.rpartition("@")[2].split(",")]
    hosts = [unquote(host) for host, _ in pairs if host] or query.get(
        "host", [os.environ.get("PGHOST", "localhost")]
    )
    ports = [port for _, port in pairs if port] or query.get("port", [os.environ.get("PGPORT", "5432")])
    user = unquote(parts.username or "") or query.get("user", [os.environ.get("PGUSER", "")])[0]
    database = unquote(parts.path.lstrip("/")) or query.get("database", query.get("dbname", [user]))[0]
    return {"host": ",".join(hosts), "port": ",".join(ports), "database": database}


def addresses_of(dsn: str) -> list[tuple[str, int]]:
    """The hosts of a DSN that names several, each with its port, in their order; none where it names one at most."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    listed = parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1]
    pairs = [_pair(each) for each in listed.split(",")]
    usual = query.get("port", [os.environ.get("PGPORT", "5432")])[-1].split(",")
    ports = usual * len(pairs) if len(usual) == 1 else usual
    # Where their numbers differ, the driver says so.
    if len(pairs) == 1 or len(pairs) != len(ports):
        return []
    return [
        (unquote(host).strip("[]"), int(port or default))
        for (host, port), default in zip(pairs, ports, strict=True)
    ]


def _pair(address: str) -> tuple[str, str]:
    """Host and port, each empty where it is not named. An IPv6 address has its colons in brackets."""
    host, colon, port = address.rpartition(":")
    return (host, port) if colon and "]" not in port else (address, "")


def cause_of(error: BaseException) -> str:
    """What the driver or the network said, in a line; where they said nothing, what kind of error it was."""
    cause = error.__cause__ if isinstance(error, JobQueueError) and error.__cause__ is not None else error
    said = " ".join(str(cause).split())
    return said or ("no answer in time" if isinstance(cause, TimeoutError) else type(cause).__name__)
