"""Locks between processes, by files: a process that ends in any way, kill -9 included, has none any more."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

_POLL = 0.02


def taken(path: Path, how: int, patience: timedelta | None = None) -> int | None:
    """Takes the lock of a file, which it makes where it is missing.

    Args:
        path: The file.
        how: fcntl.LOCK_SH or fcntl.LOCK_EX.
        patience: How long to wait for it. None: as long as it takes.

    Returns:
        The descriptor, which has the lock until it is closed; None where the patience has ended.

    Raises:
        OSError: The file can't be made, or its file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if patience is None:
            fcntl.flock(descriptor, how)
            return descriptor
        ends = time.monotonic() + patience.total_seconds()
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                return descriptor
            if time.monotonic() >= ends:
                os.close(descriptor)
                return None
            time.sleep(_POLL)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise


@contextlib.contextmanager
def held(path: Path, how: int, patience: timedelta | None = None) -> Iterator[bool]:
    """The lock of a file within the block; False: the patience has ended, and it is not held."""
    descriptor = taken(path, how, patience)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def own_folders(*folders: Path) -> bool:
    """Makes folders for this user alone, each but the first in the one before it.

    Returns:
        False where one is another user's, or others may write into it: they could put another in the place of the next.

    Raises:
        OSError: One can't be made.
    """
    return all(_own_folder(folder) for folder in folders)


def _own_folder(path: Path) -> bool:
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    return of_this_user_alone(path)


def of_this_user_alone(path: Path) -> bool:
    """Whether it is a folder of this user's into which no other may write. A link to one is none.

    Raises:
        OSError: There is nothing, or it can't be looked at.
    """
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
