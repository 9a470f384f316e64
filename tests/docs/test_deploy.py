"""docs/deploy: its commands are typed with stand-ins for a cluster, its values rendered, its roles made."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Cluster
from tests.deploy import stand_ins

from .markdown import ROOT, Block, blocks, code_words

pytestmark = [pytest.mark.chart, pytest.mark.timeout(300)]

PAGE = (ROOT / "docs/deploy/kubernetes.md").read_text()
BLOCKS = list(blocks(PAGE))
BIN = ROOT / ".venv/bin"


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader sits: `deploy`, the files of the page, and programs that stand for the cluster's."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "cluster").mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("helm", "kubectl", "docker"):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.deploy.stand_ins {name} "$@"\n')
        path.chmod(0o755)
    for block in of("yaml"):
        (tmp_path / block.title).write_text(block.text)
    return tmp_path


@contextmanager
def serving(dsn: str, *flags: str) -> Iterator[list[str]]:
    """A server that asks for keys, as the chart's; what it says until it is ready."""
    process = subprocess.Popen(
        [str(BIN / "jobqueue-server"), "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off", *flags],
        env={**os.environ, "DATABASE_URL": dsn, "JOBQUEUE_AUTH": "keys", "JOBQUEUE_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "jobqueue-server is ready" in line:
                break
        assert "jobqueue-server is ready" in "".join(said[-1:]), said
        yield said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def address(dsn: str) -> Iterator[str]:
    """Where a server answers."""
    with serving(dsn) as said:
        yield f"127.0.0.1:{json.loads(said[-1])['port']}"


def secret(folder: Path, name: str, **data: str) -> None:
    coded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    thing = {"kind": "Secret", "metadata": {"name": name}, "data": coded}
    (folder / "cluster" / f"secret-{name}.json").write_text(json.dumps(thing))


def test_the_commands_of_the_page_do_what_it_says(folder: Path, address: str, dsn: str):
    # What the page says that others make: the Job, and who keeps certificates.
    made = subprocess.run(
        [str(BIN / "jobqueue-server"), "keys", "bootstrap", "ops", "--admin"],
        env={**os.environ, "DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        check=True,
    )
    secret(folder, "jobs-jobqueue-first-key", key=made.stdout.strip())
    secret(folder, "postgres-ca", **{"ca.crt": "x"})
    secret(folder, "jobqueue-tls", **{"tls.crt": "x", "tls.key": "x", "ca.crt": "x"})
    script = "set -euo pipefail\n" + "".join(block.text for block in of("sh"))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder / 'programs'}:{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            stand_ins.FOLDER: str(folder / "cluster"),
            "JOBQUEUE_SERVER": address,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "enqueue,read,work,operate,admin *" in done.stdout
    # The worker's key is in the Secret that its pods read.
    kept = json.loads((folder / "cluster/secret-mail-worker.json").read_text())["data"]["token"]
    shown = subprocess.run(
        [str(BIN / "jobqueue"), "whoami"],
        env={
            **os.environ,
            "JOBQUEUE_SERVER": address,
            "JOBQUEUE_TOKEN": base64.b64decode(kept).decode().strip(),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "enqueue,work mail" in shown.stdout
    assert (folder / "cluster/scaledobject-jobs-jobqueue-mail.json").exists()
    # The commands of the table name what is there.
    for word in code_words(PAGE):
        if word.startswith("kubectl --namespace "):
            line = ["kubectl", *shlex.split(word)[1:]]
            subprocess.run(
                [sys.executable, "-m", "tests.deploy.stand_ins", *line],
                cwd=ROOT,
                env={**os.environ, stand_ins.FOLDER: str(folder / "cluster")},
                check=True,
            )


def test_the_two_roles_of_the_page_serve_without_a_warning(cluster: Cluster):
    (block,) = of("sql")
    database = f"jobqueue_{os.getpid()}"
    roles = {"jobqueue_owner": f"{database}_owner", "jobqueue": f"{database}_service"}
    text = re.sub(r"\bdatabase jobqueue\b", f"database {database}", block.text)
    text = re.sub(r"\b(role|owner) (jobqueue\w*)", lambda found: f"{found[1]} {roles[found[2]]}", text)
    try:
        for statement in filter(None, map(str.strip, text.split(";"))):
            cluster.execute(statement)
        service = cluster.dsn_of(database, user=roles["jobqueue"], password="another")
        owner = cluster.dsn_of(database, user=roles["jobqueue_owner"], password="one")
        urls = {"DATABASE_URL": service, "JOBQUEUE_MIGRATE_DATABASE_URL": owner}
        command = [str(BIN / "jobqueue-server"), "migrate", "up"]
        migrated = subprocess.run(
            command, env={**os.environ, **urls}, capture_output=True, text=True, check=False
        )
        assert migrated.returncode == 0, migrated.stderr
        with serving(service) as lines:
            said = [json.loads(line) for line in lines]
        assert not [line for line in said if line["level"] in {"warning", "error"}]
    finally:
        cluster.drop(database)
        for role in roles.values():
            cluster.execute(f'drop role if exists "{role}"')


def test_what_the_page_says_of_times_and_versions_is_so():
    chart = (ROOT / "deploy/helm/jobqueue/Chart.yaml").read_text()
    (least,) = re.findall(r'kubeVersion: ">=(\d\.\d+)', chart)
    assert f"a cluster of {least} or later" in PAGE
    (version,) = re.findall(r"^appVersion: (\S+)$", chart, re.MULTILINE)
    assert set(re.findall(r"images\.example\.com/[\w-]+:(\S+)", PAGE)) == {version}
