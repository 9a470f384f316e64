"""Places that principals wait for: they take turns, and the last place is for one that has none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jobqueue_server.fair.owner import Owner
from jobqueue_server.fair.turns import Turns

pytestmark = pytest.mark.unit

GREEDY: Owner = (1, "key:greedy")
MODEST: Owner = (1, "key:modest")
ELSEWHERE: Owner = (2, "key:elsewhere")


async def settled() -> None:
    """Lets every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Those who wait, and the order in which their turns come."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.came: list[Owner] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *owners: Owner) -> Sequence[asyncio.Task[None]]:
        """One after the other."""
        tasks = []
        for owner in owners:
            tasks.append(asyncio.create_task(self._take(owner)))
            await settled()
        self.tasks += tasks
        return tasks

    async def _take(self, owner: Owner) -> None:
        await self.turns.take(owner)
        self.came.append(owner)

    async def drain(self) -> list[Owner]:
        """Gives back each place after the other, and says in which order all came."""
        given = 0
        while given < len(self.came):
            self.turns.give_back(self.came[given])
            given += 1
            await settled()
        assert self.turns.taken == 0
        return self.came


async def test_one_that_takes_all_it_can_get_leaves_the_last_place():
    crowd = Crowd(Turns(3))
    await crowd.come(GREEDY, GREEDY, GREEDY)
    assert crowd.came == [GREEDY, GREEDY]
    await crowd.come(MODEST)
    assert crowd.came == [GREEDY, GREEDY, MODEST]
    assert await crowd.drain() == [GREEDY, GREEDY, MODEST, GREEDY]


async def test_principals_that_wait_take_turns():
    crowd = Crowd(Turns(1))
    await crowd.come(GREEDY, GREEDY, GREEDY, GREEDY, MODEST, MODEST)
    assert await crowd.drain() == [GREEDY, GREEDY, MODEST, GREEDY, MODEST, GREEDY]


async def test_a_namespace_of_many_keys_waits_behind_one_of_a_single_key():
    crowd = Crowd(Turns(3))
    await crowd.come(*((1, f"key:{number}") for number in range(6)))
    await crowd.come(ELSEWHERE)
    crowd.turns.give_back(crowd.came[0])
    await settled()
    assert crowd.came[3] == ELSEWHERE


async def test_while_others_wait_none_gets_more_than_half():
    crowd = Crowd(Turns(4))
    await crowd.come(GREEDY, GREEDY, GREEDY, GREEDY)
    assert crowd.came == [GREEDY] * 3
    await crowd.come(ELSEWHERE, ELSEWHERE, MODEST)
    for _ in range(3):
        crowd.turns.give_back(GREEDY)
        await settled()
    assert crowd.came[3:] == [ELSEWHERE, MODEST, GREEDY]
    assert crowd.turns._held == {GREEDY: 1, ELSEWHERE: 1, MODEST: 1}, "the last place is kept for one more"


async def test_the_server_itself_goes_first_and_has_a_place_that_callers_do_not_get():
    turns = Turns(2, own=1)
    crowd = Crowd(turns)
    await crowd.come(GREEDY, MODEST)
    assert crowd.came == [GREEDY]
    await crowd.come(None, MODEST, None)
    assert crowd.came == [GREEDY, None]
    turns.give_back(GREEDY)
    await settled()
    assert crowd.came == [GREEDY, None, None]
    turns.give_back(None)
    await settled()
    assert crowd.came == [GREEDY, None, None, MODEST]


async def test_one_who_hangs_up_while_he_waits_takes_nothing_along():
    turns = Turns(1)
    crowd = Crowd(turns)
    await crowd.come(GREEDY)
    waiting = (await crowd.come(MODEST, ELSEWHERE))[0]
    waiting.cancel()
    await settled()
    turns.give_back(GREEDY)
    await settled()
    assert crowd.came == [GREEDY, ELSEWHERE]
    turns.give_back(ELSEWHERE)
    assert (turns.taken, turns._waiting, turns._held) == (0, {}, {})


async def test_one_who_hangs_up_as_his_turn_comes_gives_it_to_the_next():
    turns = Turns(1)
    crowd = Crowd(turns)
    await crowd.come(GREEDY)
    waiting = (await crowd.come(MODEST, ELSEWHERE))[0]
    turns.give_back(GREEDY)
    waiting.cancel()
    await settled()
    assert crowd.came == [GREEDY, ELSEWHERE]
    turns.give_back(ELSEWHERE)
    assert turns.taken == 0
