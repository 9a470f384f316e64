"""A command that is a fork says and answers what the program does, which begins with Python."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.client_cli.programs import WITHIN, Cli, ended, forks, plain_environment

pytestmark = pytest.mark.slow

QUICK = '{"text": "One."}'


@pytest.mark.parametrize(
    "words",
    [
        ("jobqueue", "--version"),
        ("jobqueue", "kinds", "--help"),
        ("jobqueue", "list", "--nothing"),
        ("jobqueue", "get", "no-id"),
        ("jobqueue", "list", "--json", "--queue", "unused"),
        ("jobqueue-server", "--help"),
        ("jobqueue-server", "migrate", "up", "--database-url", "mysql://u@127.0.0.1/x"),
        ("jobqueue-worker", "--help"),
        ("jobqueue-worker", "--concurrency", "0"),
    ],
    ids=" ".join,
)
def test_a_fork_says_what_the_program_says(address: str, words: tuple[str, ...]):
    name, *arguments = words
    # What a fork is of has imported with 200.
    environment = plain_environment(JOBQUEUE_SERVER=address, COLUMNS="80")
    program = ended(name, arguments, environment, may_be_fork=False)
    fork = forks(name).run(arguments, environment, WITHIN)
    assert fork is not None
    assert (fork.returncode, fork.stdout, fork.stderr) == (program.returncode, program.stdout, program.stderr)


def test_it_reads_its_own_input_and_environment(cli: Cli, queue: str):
    lines = "".join(
        f'{{"kind": "summarize_text", "queue": "{queue}", "payload": {{"text": "{number}"}}}}\n'
        for number in range(3)
    )
    assert cli("enqueue-batch", "-", stdin=lines).returncode == 0
    assert len(cli.lines("list", "--queue", queue)) == 3
    done = Cli("127.0.0.1:1", JOBQUEUE_DEADLINE="2s")("list", "--json")
    assert done.returncode == 4
    assert "127.0.0.1:1" in json.loads(done.stderr)["error"]["message"]


def test_two_at_once_do_not_wait_for_each_other(cli: Cli, queue: str):
    job = cli.json("enqueue", "summarize_text", QUICK, "--queue", queue)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(cli, "wait", job["id"])
        assert cli("cancel", job["id"]).returncode == 0
        assert waiting.result().returncode != 4
