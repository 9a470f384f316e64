import os

import pytest

from jobqueue import Retry
from jobqueue_worker.handlers.cpu import CpuPool


async def test_work_runs_in_another_process_and_its_errors_come_back(cpu):
    assert await cpu.run(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        await cpu.run(divmod, 1, 0)


async def test_a_process_that_dies_is_a_retry_and_the_next_call_gets_another(cpu):
    with pytest.raises(Retry, match="died"):
        await cpu.run(os._exit, 1)
    assert await cpu.run(divmod, 7, 2) == (3, 1)


async def test_a_closed_pool_starts_anew_when_used():
    pool = CpuPool(1)
    first = await pool.run(os.getpid)
    await pool.close()
    await pool.close()
    assert await pool.run(os.getpid) != first
    await pool.close()
