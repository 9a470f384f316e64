"""Producers: each a process that enqueues its share of jobs, by one of the server's doors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from math import lcm
from typing import Literal, TypeVar

from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2

from ..credentials import bearer, traceparent
from ..errors import BenchError

T = TypeVar("T")

KIND = "noop"
LABEL = {"team": "red"}
#: In an open loop calls gather when the server falls behind; beyond so many a producer would measure itself.
MOST_UNDER_WAY = 20_000
LoadProtocol = Literal["batch", "unary", "pipelined", "rest"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is enqueued, and how.

    Attributes:
        jobs: How many in all.
        protocol: `batch`: gRPC, many jobs a call; `unary`: gRPC, one a call; `pipelined`: one stream of jobs, of which
            each call takes what has gathered; `rest`: HTTP/JSON, one a request.
        payload: Bytes of each.
        batch: Jobs of a call at `batch`; at most so many at `pipelined`.
        producers: Processes.
        in_flight: Calls of each producer that are under way at once; connections at `rest`.
        rate: Calls a second of all producers, on a fixed schedule (open loop). None: each call follows the answer of
            the one before (closed loop).
        stamped: Whether each payload says when its job was due to be enqueued, so that a worker can tell how long it
            took. Such messages are built one by one.
        deadline: Seconds that a call may take; what has no answer by then is counted as late. None: any time.
        kind, queue: Of the jobs.
        delay: Seconds from the enqueue of a job until it is due. With some, no job is handed off: all are claimed.
        bare: Whether calls over gRPC are made without a gRPC library, which would cost more than the server.
        key: What each call shows as `authorization: Bearer`; empty: none is sent.
        traceparent: Whether each call has a `traceparent` of its own.
        keys: How many job keys the jobs have in turns, at `batch` with a library. 0: they have none.
        names: How many names the jobs have in turns, which are unique then, at `unary` with a library. 0: each job has
            its own. None: they are not unique.
        label: Whether each job has a label.
    """

    jobs: int
    protocol: LoadProtocol = "batch"
    payload: int = 128
    batch: int = 100
    producers: int = 1
    in_flight: int = 8
    rate: float | None = None
    stamped: bool = False
    deadline: float | None = None
    kind: str = KIND
    queue: str = ""
    delay: float = 0.0
    bare: bool = False
    key: str = field(default="", repr=False)
    traceparent: bool = False
    keys: int = 0
    names: int | None = None
    label: bool = False

    @property
    def calls(self) -> int:
        """Calls of each producer."""
        return self.jobs // (self.batch if self.protocol == "batch" else 1) // self.producers

    @property
    def stored(self) -> int:
        """The jobs that come of it: shares are whole calls."""
        return self.calls * self.producers * (self.batch if self.protocol == "batch" else 1)


def payload(load: Load, due: int) -> bytes:
    """That of a job that is due then."""
    return padded(load.payload, due=due) if load.stamped else padded(load.payload)


def new_job(load: Load, due: int) -> job_pb2.NewJob:
    """A job that is to be enqueued then."""
    job = job_pb2.NewJob(kind=load.kind, queue=load.queue, payload_json=payload(load, due))
    if load.delay:
        job.delay.FromTimedelta(timedelta(seconds=load.delay))
    if load.label:
        job.labels.update(LABEL)
    return job


def keyed_batches(load: Load) -> list[list[job_pb2.NewJob]]:
    """The jobs of each of the next calls, until they would come again: keys go round."""
    job = new_job(load, 0)
    jobs = []
    for number in range(lcm(load.keys, load.batch)):
        jobs.append(job_pb2.NewJob())
        jobs[-1].CopyFrom(job)
        jobs[-1].key = f"key-{number % load.keys}"
    return [jobs[start : start + load.batch] for start in range(0, len(jobs), load.batch)]


def unique_jobs(load: Load) -> Iterator[job_pb2.NewJob]:
    """The jobs of the calls, one after the other. Each has a name; with `names` they go round."""
    job = new_job(load, 0)
    mine = "" if load.names else f"{os.getpid()}-"
    for number in count():
        named = job_pb2.NewJob()
        named.CopyFrom(job)
        named.unique.key = f"name-{mine}{number % load.names if load.names else number}"
        yield named


def by_due(load: Load, make: Callable[[int], T]) -> Callable[[int], T]:
    """What `make` makes for a call that is due then; the same for all, made once, where none says when it was due."""
    if load.stamped:
        return make
    same = make(0)
    return lambda due: same


def metadata(load: Load) -> Callable[[], tuple[tuple[str, str], ...]]:
    """Makes the metadata of the next call."""
    same = bearer(load.key)
    if not load.traceparent:
        return lambda: same
    return lambda: (*same, ("traceparent", traceparent()))


def says_when_to_come_back(status: bytes, text: str) -> None:
    """A refusal is good only with a RetryInfo. `status`: its google.rpc.Status, serialized.

    Raises:
        BenchError: It has none.
    """
    details = status_pb2.Status.FromString(status).details
    if not any(each.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for each in details):
        raise BenchError(f"a refusal does not say when to come back: {text}")


def padded(size: int, **fields: object) -> bytes:
    """A payload of so many bytes, with these fields in it."""
    bare = len(json.dumps({**fields, "pad": ""}, separators=(",", ":")))
    return json.dumps({**fields, "pad": "x" * max(0, size - bare)}, separators=(",", ":")).encode()
