"""The ids of jobs: UUID v7 from the database's clock, strictly increasing inside a process.

The bits of an id, from the highest one on (RFC 9562, section 5.7):

    48  milliseconds since 1970, of the database's clock
     4  the version, 7
    12  rand_a: ten bits are the cell, two the highest of the counter
     2  the variant
    62  rand_b: the rest of the counter

A cell is one database and its servers; there is one so far, number 0. Nothing reads
them yet.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

# The number of this cell, and its width in ids and tokens, in bits.
CELL = 0
CELL_BITS = 10

# RFC 9562 leaves 74 bits beside the time; the cell takes ten. A millisecond starts at a random number of 63 bits, so
# that two servers do not meet and the counter has room to grow; each further id adds up to 2^32 ("monotonic random",
# section 6.2).
_COUNTER_BITS = 74 - CELL_BITS
_SEED_BYTES = 8
_SEED_BITS = 63
# How many random numbers one system call gets.
_SEEDS = 256
_STEP_BITS = 32
_COUNTER_LIMIT = 1 << _COUNTER_BITS
_LOW_MASK = (1 << 62) - 1
# With the cell below it, which every id of this server has.
_VERSION = (0x7 << CELL_BITS | CELL) << 66
_VARIANT = 0b10 << 62


class Milliseconds(Protocol):
    """The clock whose time the ids have: the database's, by `core.clock.Clock`."""

    def now_ms(self) -> int:
        """Milliseconds since 1970. Never smaller than an earlier answer."""
        ...


def _uuid_of(octets: bytes) -> UUID:
    return UUID(bytes=octets)


class IdMint:
    """Makes the ids of new jobs.

    An id costs 0.5-0.7 us with `store.clock.uuid_of`, the driver's own subclass of `uuid.UUID`, against 1.3-1.5 us
    with `uuid.UUID` itself, which also costs twice as much to encode; hence the constructor is a parameter.

    Args:
        clock: The database's clock. While it stands still, ids count on in the same millisecond.
        uuid_of: Makes an id from its 16 octets.
    """

    def __init__(self, clock: Milliseconds, uuid_of: Callable[[bytes], UUID] = _uuid_of) -> None:
        self._clock = clock
        self._uuid_of = uuid_of
        self._ms = 0
        self._counter = 0
        self._seeds: list[int] = []

    def mint(self) -> UUID:
        """One id, greater than every earlier id of this mint.

        Raises:
            DatabaseAway: The database's clock was never read.
        """
        return self._next(self._clock.now_ms())

    def mint_many(self, count: int) -> list[UUID]:
        """`count` ids in increasing order. The clock is read once.

        Raises:
            DatabaseAway: The database's clock was never read.
        """
        if count < 1:
            return []
        now_ms = self._clock.now_ms()
        ids = [self._next(now_ms)]
        if count == 1:
            return ids
        value, uuid_of, draw = ids[0].int, self._uuid_of, random.getrandbits
        # While the steps stay within the lowest 62 bits, adding to the id itself takes half of the time.
        room = (_LOW_MASK - (value & _LOW_MASK)) >> _STEP_BITS
        while len(ids) < count and len(ids) < room:
            value += draw(_STEP_BITS) + 1
            ids.append(uuid_of(value.to_bytes(16, "big")))
        self._counter += value - ids[0].int
        while len(ids) < count:
            ids.append(self._next(now_ms))
        return ids

    def _next(self, now_ms: int) -> UUID:
        if now_ms > self._ms:
            self._ms = now_ms
            self._counter = self._seed()
        else:
            self._counter += random.getrandbits(_STEP_BITS) + 1
            if self._counter >= _COUNTER_LIMIT:
                # The millisecond is full: use the next one. An id may be ahead of the clock, but not go back.
                self._ms += 1
                self._counter = self._seed()
        counter = self._counter
        value = self._ms << 80 | _VERSION | counter >> 62 << 64 | _VARIANT | counter & _LOW_MASK
        return self._uuid_of(value.to_bytes(16, "big"))

    def _seed(self) -> int:
        if not self._seeds:
            drawn = secrets.token_bytes(_SEED_BYTES * _SEEDS)
            self._seeds = [
                int.from_bytes(drawn[first : first + _SEED_BYTES], "big") >> (8 * _SEED_BYTES - _SEED_BITS)
                for first in range(0, len(drawn), _SEED_BYTES)
            ]
        return self._seeds.pop()
