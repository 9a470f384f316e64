"""The metrics of several processes on one page. Each sample has the label `process`, each family comes once."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ..addresses import split_address, taken

TIMEOUT = 3.0
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{)?")
#: Metrics that every process reads from the database. They come from the first process that answers, and count once.
OF_THE_DATABASE = "jobqueue_queue_"


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
                shared = family.startswith(OF_THE_DATABASE)
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
        ports: The port of each process's own metrics, by number; 0: the process is not ready.
    """

    def __init__(self, ports: Callable[[], Mapping[int, int]]) -> None:
        self._ports = ports

    def start(self, address: str) -> int:
        """Listens on `host:port`, and answers the port. Port 0 takes a free one.

        Raises:
            AddressUnusable: The port is taken.
        """
        host, port = split_address(address)
        page = self.page

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = page().encode()
                self.send_response(200)
                self.send_header("Content-Type", _CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Logs nothing: a scrape is not worth a line."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise taken("The metrics endpoint", address, "JOBQUEUE_METRICS_ADDR") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        return self._server.server_port

    def page(self) -> str:
        """The metrics of all processes. A process that does not answer is shown as down."""
        ports = dict(self._ports())
        asked = [number for number, port in ports.items() if port]
        with ThreadPoolExecutor(max(1, len(asked))) as pool:
            answers = dict(zip(asked, pool.map(lambda number: _read(ports[number]), asked), strict=True))
        pages = {number: page for number, page in answers.items() if page is not None}
        return _up(ports, pages) + merged(pages)

    def stop(self) -> None:
        """Stops listening. Afterwards the port is free."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT) as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, OSError):
        return None
