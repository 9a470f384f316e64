"""The metrics of several processes on one page. Each sample has the label `process`, each family comes once."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..scrape import ScrapeEndpoint

TIMEOUT = 3.0
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{)?")
#: How metrics begin that every process reads from the database. They come from the first process that answers, and
#: count once.
OF_THE_DATABASE = (
    "jobqueue_queue_",
    "jobqueue_oldest_snapshot_",
    "jobqueue_replication_slot_",
    "jobqueue_dead_rows",
    "jobqueue_partition",
    "jobqueue_retention_",
    "jobqueue_migration",
)

#: What begins so and is counted by each process for itself.
OF_EACH = ("jobqueue_queue_at_limit_",)


def merged(pages: Mapping[int, str]) -> str:
    """One page of metrics from the pages of several processes, which are given by number."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for place, (number, page) in enumerate(sorted(pages.items())):
        family = ""
        for line in page.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                if line not in heads.setdefault(family, []):
                    heads[family].append(line)
            elif line and not line.startswith("#"):
                shared = family.startswith(OF_THE_DATABASE) and not family.startswith(OF_EACH)
                if not shared:
                    samples.setdefault(family, []).append(_labelled(line, number))
                elif place == 0:
                    samples.setdefault(family, []).append(line)
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return "\n".join(lines) + "\n"


def _labelled(sample: str, number: int) -> str:
    """`name{a="b"} 1` becomes `name{process="0",a="b"} 1`."""
    found = _SAMPLE.match(sample)
    assert found is not None, f"not a sample: {sample!r}"
    name, brace = found.groups()
    label = f'process="{number}"'
    return (
        f"{name}{{{label},{sample[found.end() :]}" if brace else f"{name}{{{label}}}{sample[found.end() :]}"
    )


def _up(ports: Mapping[int, int], pages: Mapping[int, str]) -> str:
    head = (
        "# HELP jobqueue_process_up Whether a server process answers.",
        "# TYPE jobqueue_process_up gauge",
    )
    return (
        "\n".join(
            [*head, *(f'jobqueue_process_up{{process="{it}"}} {int(it in pages)}' for it in sorted(ports))]
        )
        + "\n"
    )


class GatheredMetrics:
    """`/metrics` of all processes, on a port of its own.

    Args:
        ports: By number where each process has its own metrics; 0: it is not ready.
        token: What readers have to show, here and to each process; None: nothing.
    """

    def __init__(self, ports: Callable[[], Mapping[int, int]], token: str | None = None) -> None:
        self._ports = ports
        self._token = token
        endpoint = ScrapeEndpoint(self._answer, token)
        self.start, self.stop = endpoint.start, endpoint.stop

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = self.page().encode()
        start_response("200 OK", [("Content-Type", _CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [body]

    def page(self) -> str:
        """The metrics of all processes. A process that does not answer is shown as down."""
        ports = dict(self._ports())
        asked = [number for number, port in ports.items() if port]
        with ThreadPoolExecutor(max(1, len(asked))) as pool:
            answers = dict(
                zip(asked, pool.map(lambda number: _read(ports[number], self._token), asked), strict=True)
            )
        pages = {number: page for number, page in answers.items() if page is not None}
        return _up(ports, pages) + merged(pages)


def _read(port: int, token: str | None) -> str | None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, OSError):
        return None
