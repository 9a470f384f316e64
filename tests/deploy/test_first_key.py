"""What the chart describes runs: migrations, the server by its own probes, and the Job that makes the first key."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from jobqueue import SyncClient, Unauthenticated
from tests.package.test_alone import line_with
from tests.tls.conftest import Authority

from . import chart
from .conftest import ROOT

pytestmark = pytest.mark.chart

BIN = ROOT / ".venv/bin"
PROGRAM = chart.CHART / "files/first_key.py"
TOKEN = "of-the-pod"


class Kubernetes:
    """The part of its interface that the Job asks: one Secret, over TLS, for who shows the pod's token.

    Attributes:
        data: What the Secret holds, as Kubernetes keeps it.
        refuses: How many more calls that write it are refused; those that only try are not.
        forbids: Whether no call may write it.
        asked: Each call, as it came.
    """

    def __init__(self, folder: Path) -> None:
        self.data: dict[str, str] = {}
        self.refuses = 0
        self.forbids = False
        self.asked: list[str] = []
        authority = Authority(folder, "cluster")
        self._account = folder / "account"
        self._account.mkdir()
        (self._account / "token").write_text(TOKEN)
        (self._account / "namespace").write_text(chart.NAMESPACE)
        (self._account / "ca.crt").write_text(Path(authority.cert).read_text())
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Of", (_Handler,), {"kubernetes": self}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("kubernetes"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a pod finds of it."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._server.server_port),
            "SERVICE_ACCOUNT": str(self._account),
            "HTTPS_PROXY": "http://127.0.0.1:1",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    kubernetes: Kubernetes

    def do_GET(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tries = self.path.endswith("?dryRun=All")
        if self.kubernetes.forbids or (not tries and self.kubernetes.refuses):
            self.kubernetes.refuses -= not tries
            self.send_error(403 if self.kubernetes.forbids else 503)
            return
        if not tries:
            self.kubernetes.data |= body["data"]
        self._answer()

    def _answer(self) -> None:
        self.kubernetes.asked.append(f"{self.command} {self.path}")
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send_error(401)
            return
        data = {"data": self.kubernetes.data} if self.kubernetes.data else {}
        body = json.dumps({"kind": "Secret", **data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Kubernetes]:
    made = Kubernetes(tmp_path)
    yield made
    made.close()


def ran(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def first_key(kubernetes: Kubernetes, dsn: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "jobs-first-key", "ops"]
    return ran(command, DATABASE_URL=dsn, **kubernetes.environment)


def test_the_key_is_kept_in_the_secret_and_in_no_log_and_is_made_once(kubernetes: Kubernetes, dsn: str):
    made = first_key(kubernetes, dsn)
    assert made.returncode == 0, made.stderr
    key = base64.b64decode(kubernetes.data["key"]).decode()
    assert key.startswith("jq_")
    assert made.stdout == "the first key is in the Secret jobs-first-key\n"
    assert key not in made.stdout + made.stderr
    path = f"/api/v1/namespaces/{chart.NAMESPACE}/secrets/jobs-first-key"
    assert kubernetes.asked == [f"GET {path}", f"PATCH {path}?dryRun=All", f"PATCH {path}"]

    again = first_key(kubernetes, dsn)
    assert (again.returncode, again.stdout) == (0, "the Secret jobs-first-key has a key already\n")
    assert base64.b64decode(kubernetes.data["key"]).decode() == key


def test_a_database_that_has_an_administrator_is_left_as_it_is(kubernetes: Kubernetes, dsn: str):
    assert ran([str(BIN / "jobqueue-server"), "keys", "bootstrap", "ops", "--admin"], DATABASE_URL=dsn).stdout
    done = first_key(kubernetes, dsn)
    assert done.returncode == 0, done.stderr
    assert "a key of an administrator is good already, so none is made" in done.stdout
    assert kubernetes.data == {}


def test_no_key_is_made_that_could_not_be_kept(kubernetes: Kubernetes, dsn: str):
    kubernetes.forbids = True
    refused = first_key(kubernetes, dsn)
    assert refused.returncode == 1
    assert "the Secret jobs-first-key can't be written, so no key is made" in refused.stderr
    assert "Traceback" not in refused.stderr

    # So the next try makes it.
    kubernetes.forbids = False
    kubernetes.refuses = 2
    done = first_key(kubernetes, dsn)
    assert done.returncode == 0, done.stderr
    assert kubernetes.data["key"]


def test_a_database_that_is_not_there_is_told_of(kubernetes: Kubernetes):
    failed = first_key(kubernetes, "postgresql://jobqueue@127.0.0.1:1/jobqueue")
    assert failed.returncode == 1
    assert "127.0.0.1" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert kubernetes.data == {}


@contextmanager
def started(container: chart.Object, environment: dict[str, str]) -> Iterator[tuple[IO[str], dict[str, Any]]]:
    """The container's program as the image and the pod say, on free ports of this machine."""
    addresses = {name: "127.0.0.1:0" for name in environment if name.endswith("_ADDR")}
    process = subprocess.Popen(
        [str(BIN / "jobqueue-server"), *container.get("args", [])],
        env={"PATH": os.environ["PATH"], **environment, **addresses, "JOBQUEUE_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout, json.loads(line_with(process.stdout, "jobqueue-server is ready"))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_newcomer_who_names_a_database_has_a_server_and_the_key_to_it(
    kubernetes: Kubernetes, empty_dsn: str
):
    objects = chart.rendered({"database": {"url": empty_dsn}})
    pod = chart.one(objects, "Deployment")["spec"]["template"]
    (migrate,), (server,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    given = chart.environment(objects, migrate, {})
    for _ in range(2):
        done = ran([str(BIN / "jobqueue-server"), *migrate["args"]], **given)
        assert done.returncode == 0, done.stderr

    with started(server, chart.environment(objects, server, {})) as (_, ready):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = server[probe]["httpGet"]["path"]
            with urllib.request.urlopen(f"http://127.0.0.1:{ready['http_port']}{path}", timeout=10) as answer:
                assert answer.status == 200
        address = f"127.0.0.1:{ready['port']}"
        with SyncClient(address) as client, pytest.raises(Unauthenticated):
            client.enqueue("greet", {})

        job = chart.one(objects, "Job", "-first-key")["spec"]["template"]["spec"]["containers"][0]
        command = [sys.executable, str(PROGRAM), *job["args"]]
        made = ran(command, **chart.environment(objects, job, {}), **kubernetes.environment)
        assert made.returncode == 0, made.stderr
        # `helm test` does this with it.
        test = chart.one(objects, "Pod", "-test")["spec"]["containers"][0]
        key = base64.b64decode(kubernetes.data["key"]).decode()
        secrets = {f"{job['args'][0]}/key": key}
        chart.one(objects, "Secret", "-first-key")["data"] = kubernetes.data
        variables = chart.environment(objects, test, secrets) | {"JOBQUEUE_SERVER": address}
        program, *arguments = test["command"]
        shown = ran([str(BIN / program), *arguments], **variables)
        assert shown.returncode == 0, shown.stderr
        # Without a key it says what is missing.
        del variables["JOBQUEUE_TOKEN"]
        assert "wants credentials" in ran([str(BIN / program), *arguments], **variables).stderr
