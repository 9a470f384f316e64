"""Writes what is made from code: docs/errors.md, docs/settings.md, docs/metrics.md, docs/logs.md and its
schema, parts of docs/hardening.md and docs/abuse.md, the chart's values.

python -m tools.docs            write them
python -m tools.docs --check    write nothing; fail if one is not up to date
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobqueue_server.errors import JobQueueError, registry
from jobqueue_server.fair.places import PLACES
from jobqueue_server.http.errors import REASONS, STATUS_OF
from jobqueue_server.lifecycle import Reason
from jobqueue_server.security import RULES, WARNED
from jobqueue_server.settings import Settings, default_text, environment_name
from jobqueue_worker import cli as worker_cli
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker
from tools.logs import logs, schema
from tools.metrics import metrics

from .chart import made as chart

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- Made by `make generate` from {source}. Change that instead. -->"

ERRORS = """\
Every error is a `google.rpc.Status` whose details hold an `ErrorInfo` with the domain `jobqueue` and one of these
reasons. Reasons are stable; messages are for people. Bad input also carries `BadRequest` with the path of every field
that is wrong, such as `job.payload.to` or `jobs[3].payload`; shed load carries `RetryInfo`. Over HTTP the body is the
same `google.rpc.Status` as JSON, and `RetryInfo` is in `Retry-After` too.
"""
SETTINGS = """\
A flag wins over the environment, and that over the file of `--config` (server only). Durations are a number and a
unit: `1500ms`, `30s`, `5m`, `12h`, `7d`. A setting that can't be used ends the program with 2 and names it.
"""
COMMAND_LINE = """\
The command line reads `JOBQUEUE_SERVER` (`--server`, default `127.0.0.1:50051`) and `JOBQUEUE_DEADLINE`
(`--deadline`, how long to try to reach the server), and what lets it in: `JOBQUEUE_TLS_ROOTS`
(`--tls-roots`: TLS; who signs the server's certificate, a PEM file or `public`), `JOBQUEUE_TLS_CLIENT_CERT`,
`JOBQUEUE_TLS_CLIENT_KEY` and `JOBQUEUE_TOKEN`, as the worker has them."""

JOB_REASONS = {
    Reason.ATTEMPTS_EXHAUSTED: "FAILED_PERMANENT: as many failures as `max_attempts` allows.",
    Reason.NOT_RETRYABLE: "FAILED_PERMANENT: the worker said that another attempt would be in vain.",
    Reason.LOST_TOO_OFTEN: "FAILED_PERMANENT: it lost as many workers as `JOBQUEUE_MAX_LOSSES` allows.",
    Reason.BODY_MISSING: "FAILED_PERMANENT: its stored payload is gone, so there was nothing to deliver.",
    Reason.CANCELLED_BY_CALLER: "CANCELLED: by CancelJob.",
    Reason.CANCELLED_BY_WORKER: "CANCELLED: by its worker, without having been asked.",
    Reason.CANCEL_GRACE_ENDED: "CANCELLED: its worker was asked to stop and did not answer within the grace.",
    Reason.KEY_CANCELLED: "CANCELLED: one before it of its key failed or was cancelled; its queue cancels the rest.",
}
ATTEMPT_REASONS = {
    Reason.HANDLER_FAILED: "The worker reported a failure.",
    Reason.TIMED_OUT: "It ran longer than the job's `timeout`.",
    Reason.SESSION_LOST: "Nothing was heard of its worker for a whole ttl.",
}


def errors() -> str:
    """The text of docs/errors.md."""
    return "\n".join(_errors()) + "\n"


def _errors() -> Iterator[str]:
    yield "# Errors and reasons\n"
    yield MADE.format(source="server/src/jobqueue_server/errors.py") + "\n"
    yield ERRORS
    yield "## Reasons of errors\n"
    yield "| reason | gRPC code | HTTP | meaning, and what to do |"
    yield "|---|---|---|---|"
    for reason, error in sorted(registry().items()):
        yield f"| `{reason}` | {error.code} | {error.http_status or STATUS_OF[error.code]} | {_advice(error)} |"
    yield "\n## Reasons of HTTP alone\n"
    yield "The request did not get as far as a method.\n"
    yield "| reason | HTTP | meaning, and what to do |"
    yield "|---|---|---|"
    for status, (reason, meaning) in REASONS.items():
        if reason not in registry():
            yield f"| `{reason}` | {status} | {meaning} |"
    missing = {name for name in vars(Reason) if name.isupper()} - set(JOB_REASONS) - set(ATTEMPT_REASONS)
    if missing:
        sys.exit(
            f"tools/docs.py: say what {', '.join(sorted(missing))} means, in JOB_REASONS or ATTEMPT_REASONS"
        )
    for title, place, reasons in (
        ("Why a job ended", "Job.reason", JOB_REASONS),
        ("Why an attempt failed", "FailedAttempt.reason", ATTEMPT_REASONS),
    ):
        yield f"\n## {title}\n"
        yield f"In `{place}`.\n"
        yield "| reason | meaning |"
        yield "|---|---|"
        for reason, meaning in reasons.items():
            yield f"| `{reason}` | {meaning} |"


def _advice(error: type[JobQueueError]) -> str:
    return " ".join((inspect.getdoc(error) or "").split())


def settings() -> str:
    """The text of docs/settings.md."""
    return "\n".join(_settings()) + "\n"


def _settings() -> Iterator[str]:
    yield "# Settings\n"
    yield MADE.format(source="the settings classes of server and worker") + "\n"
    yield SETTINGS
    yield "## jobqueue-server\n"
    yield "| environment | flag | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in Settings.model_fields.items():
        yield _row(environment_name(name), name, default_text(name), field.description)
    yield "\n## jobqueue-worker\n"
    yield "| environment | flag | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in WorkerSettings.model_fields.items():
        default = worker_cli.default_text(field.default)
        yield _row(of_worker(name), name, default, field.description)
    yield "\n## jobqueue\n"
    yield COMMAND_LINE


def _row(environment: str, name: str, default: str, description: str | None) -> str:
    shown = f"`{default}`" if default else ""
    meaning = (description or "").replace("|", "\\|")
    return f"| `{environment}` | `--{name.replace('_', '-')}` | {shown} | {meaning} |"


def hardening() -> str:
    """The text of docs/hardening.md, of which the tables are made."""
    return _with_part("docs/hardening.md", "server/src/jobqueue_server/security.py", _refusals())


def _with_part(document: str, source: str, lines: Iterable[str]) -> str:
    """The text of a document with these lines in the part that is made from `source`."""
    text = (ROOT / document).read_text()
    begin, end = MADE.format(source=source), "<!-- Made until here. -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{after}"


def abuse() -> str:
    """The text of docs/abuse.md, of which one table is made here."""
    return _with_part("docs/abuse.md", "server/src/jobqueue_server/fair/places.py", _shared())


def _shared() -> Iterator[str]:
    yield "| what callers share | how much there is | how it is shared | who finds nothing left |"
    yield "|---|---|---|---|"
    for place in PLACES:
        full = f"is answered `{place.full}`" if place.full.isupper() else place.full
        yield f"| {place.name} | {place.bound} | {place.how} | {full} |"


def _refusals() -> Iterator[str]:
    yield "| setting | what is refused | what to do | accepted by |"
    yield "|---|---|---|---|"
    for rule in RULES:
        if not rule.warns:
            word = f"`{rule.accepted_by}`" if rule.accepted_by else "nothing"
            yield f"| `{environment_name(rule.setting)}` | It {rule.condition}. | {rule.remedy} | {word} |"
    yield ""
    yield "| setting | what is warned of | what to do |"
    yield "|---|---|---|"
    for rule in RULES:
        if rule.warns:
            yield f"| `{environment_name(rule.setting)}` | It {rule.condition}. | {rule.remedy} |"
    for warned in WARNED:
        yield f"| `{environment_name(warned.setting)}` | It {warned.condition}. | {warned.remedy} |"


def documents() -> dict[str, str]:
    """What is made: the text of each document, by its place in the repository."""
    return {
        "docs/errors.md": errors(),
        "docs/settings.md": settings(),
        "docs/metrics.md": metrics(),
        "docs/logs.md": logs(),
        "docs/log.schema.json": schema(),
    } | chart.documents()


def partly() -> dict[str, str]:
    """Documents of which a part is made, likewise."""
    return {"docs/hardening.md": hardening(), "docs/abuse.md": abuse()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is not up to date")
    check = parser.parse_args().check
    stale = False
    for name, text in (documents() | partly()).items():
        path = ROOT / name
        present = path.read_text() if path.exists() else ""
        if check:
            diff = difflib.unified_diff(
                present.splitlines(), text.splitlines(), name, "generated", n=1, lineterm=""
            )
            for line in diff:
                stale = True
                print(line)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        sys.exit("The documents above are not up to date; `make generate` renews them.")


if __name__ == "__main__":
    main()
