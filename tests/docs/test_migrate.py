"""docs/migrate: what the pages on Sidekiq, asynq and BullMQ show of ours runs. That on Celery has its own tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from jobqueue import Job, Status
from jobqueue.testing import SyncTestScope
from tests.conformance.languages import languages
from tests.go_programs import ENVIRONMENT

from .markdown import ROOT, blocks

GO = ROOT / "clients" / "go"
TYPESCRIPT = ROOT / "clients" / "typescript"


def programs(page: str) -> dict[str, str]:
    """The files that a page shows, by their names."""
    shown = blocks((ROOT / "docs" / "migrate" / page).read_text())
    return {block.title: block.text for block in shown if block.title}


def waited(job: Job) -> float:
    """How many seconds a job waits after its last failure."""
    failed = job.failed_attempts[-1].ended_at
    assert job.run_at
    assert failed
    return (job.run_at - failed).total_seconds()


@pytest.mark.slow
def test_the_worker_of_the_page_on_sidekiq_waits_as_sidekiq_does(
    jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ModuleType("welcome")
    monkeypatch.setitem(sys.modules, page.__name__, page)
    exec(compile(programs("sidekiq.md")["welcome.py"], "welcome.py", "exec"), page.__dict__)
    sent: list[str] = []

    def send(address: str, text: str) -> None:
        if address.startswith("away"):
            raise ConnectionError("the mail server is away")
        sent.append(text)

    monkeypatch.setattr(page, "send", send)
    scope, client = jobqueue_sync_scope, jobqueue_sync_scope.client
    client.sync_kinds([page.welcome])
    good, bad, ill = (
        client.enqueue(page.welcome, page.Welcome(address))
        for address in ("ada@example.org", "nowhere", "away@example.org")
    )
    waits = []
    for _ in range(4):
        scope.run_until_idle(page.worker, failures="keep")
        failed = client.get(ill.id)
        assert (failed.status, failed.max_attempts) == (Status.RETRYING, 26)
        waits.append(waited(failed))
        scope.make_due(failed)
    assert sent == ["Hello you"]
    assert client.get(good.id).status is Status.SUCCEEDED
    discarded = client.get(bad.id)
    assert (discarded.status, discarded.failures, discarded.last_error) == (
        Status.FAILED_PERMANENT,
        1,
        "nowhere is no address",
    )
    assert all(least <= wait <= 1.1 * least + 1 for least, wait in zip((15, 16, 31, 96), waits, strict=True))


@contextmanager
def serving(command: list[str], scope: SyncTestScope) -> Iterator[None]:
    """Runs a worker in the scope, and drains it."""
    with subprocess.Popen(command, env={**os.environ, **scope.environment}) as worker:
        try:
            yield
        finally:
            worker.terminate()
    assert worker.returncode == 0


def ran(*command: str, folder: Path, **environment: str) -> str:
    """What a program prints that ends by itself."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


#: Calls the page's function, in its package.
SIGN_UP = """package main

import (
	"fmt"
	"os"
	"testing"

	"jobqueue.dev/go/jobqueue"
)

func TestSignUp(t *testing.T) {
	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SyncKinds(t.Context(), SendWelcome); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"ada@example.org", "nowhere"} {
		job, err := signUp(t.Context(), client, Welcome{address, "Ada"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if job, err = client.Wait(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(os.Stdout, job.Status, string(job.Output), job.LastError, job.Failures, job.MaxAttempts)
	}
}
"""


# The first build of all compiles grpc-go.
@pytest.mark.language("go")
@pytest.mark.timeout(600)
def test_the_program_of_the_page_on_asynq_does_what_it_says(
    jobqueue_sync_scope: SyncTestScope, tmp_path: Path
) -> None:
    (tmp_path / "main.go").write_text(programs("asynq.md")["main.go"])
    assert ran("gofmt", "-l", ".", folder=tmp_path) == ""
    (tmp_path / "main_test.go").write_text(SIGN_UP)
    needs = (GO / "go.mod").read_text()
    (tmp_path / "go.mod").write_text(re.sub(r"(?m)^module .*$", "module example.org/app", needs))
    (tmp_path / "go.sum").write_text((GO / "go.sum").read_text())

    def go(*arguments: str) -> str:
        return ran("go", *arguments, folder=tmp_path, **ENVIRONMENT, **jobqueue_sync_scope.environment)

    go("mod", "edit", "-require=jobqueue.dev/go@v0.0.0", f"-replace=jobqueue.dev/go={GO}")
    go("vet", "-mod=mod", ".")
    go("build", "-mod=mod", "-o", "app", ".")
    with serving([str(tmp_path / "app")], jobqueue_sync_scope):
        said = go("test", "-mod=mod", "-count=1", "-v", ".")
    assert 'SUCCEEDED "Hello Ada"  0 5\n' in said
    assert "FAILED_PERMANENT  nowhere is no address 1 5\n" in said


#: Calls the page's function.
PRODUCER = """import { Client } from "@jobqueue/client";
import { signUp, welcome } from "./welcome.js";

const client = Client.fromEnv();
await client.syncKinds([welcome]);
for (const address of ["ada@example.org", "nowhere"]) {
  const job = await client.wait((await signUp(client, address, 0)).id, { timeoutMs: 60_000 });
  console.log(job.status, job.output ?? null, job.lastError, job.failures, job.maxAttempts);
}
client.close();
"""


@pytest.mark.language("typescript")
@pytest.mark.timeout(300)
def test_the_programs_of_the_page_on_bullmq_do_what_it_says(jobqueue_sync_scope: SyncTestScope) -> None:
    trouble = languages()["typescript"].make()
    assert not trouble, f"the package can't be built:\n{trouble}"
    # An import by the package's own name is found from within its own folder only, and so is zod.
    place = TYPESCRIPT / ".build" / "pages" / "bullmq"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shown = programs("bullmq.md")
    assert list(shown) == ["welcome.ts", "welcomeWorker.ts"]
    for name, text in {**shown, "producer.ts": PRODUCER}.items():
        (place / name).write_text(text)
    flags = ("--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022")
    sources = [str(path) for path in sorted(place.glob("*.ts"))]
    ran("npm", "exec", "--", "tsc", *flags, "--types", "node", *sources, folder=TYPESCRIPT)
    ran("npm", "exec", "--", "prettier", "--check", *sources[1:], folder=TYPESCRIPT)
    with serving(["node", str(place / "welcomeWorker.js")], jobqueue_sync_scope):
        said = ran("node", "producer.js", folder=place, **jobqueue_sync_scope.environment)
    assert said.splitlines() == [
        "SUCCEEDED Hello you  0 5",
        "FAILED_PERMANENT null nowhere is no address 1 5",
    ]
