"""The job as a handler sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.payload import decode
from jobqueue.v1 import lease_pb2 as pb


class LeasedJob:
    """One attempt of one job.

    `(id, attempt)` is a fencing token: a store that refuses a lower attempt of the same id is safe from a worker that
    was thought dead. It reads from the message that came over the wire, so that a job costs only what is looked at.
    """

    __slots__ = ("_message", "_payload")

    def __init__(self, message: pb.LeasedJob) -> None:
        self._message = message

    @property
    def id(self) -> str:
        """The job's id."""
        return self._message.id

    @property
    def attempt(self) -> int:
        """The attempt's number in its job, from 1. Higher than that of every earlier one."""
        return self._message.attempt

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self._message.kind

    @property
    def queue(self) -> str:
        """The queue that it was claimed from."""
        return self._message.queue

    @property
    def payload(self) -> Any:
        """The payload, decoded at the first look. Integers keep all their digits."""
        try:
            return self._payload
        except AttributeError:
            self._payload: Any = decode(self._message.payload_json)
            return self._payload

    @property
    def payload_json(self) -> bytes:
        """The payload as the text that was enqueued, byte for byte."""
        return self._message.payload_json

    @property
    def max_attempts(self) -> int:
        """After how many failures the job ends as FAILED_PERMANENT."""
        return self._message.max_attempts

    @property
    def failures(self) -> int:
        """How many failures there have been."""
        return self._message.failures

    @property
    def is_last_attempt(self) -> bool:
        """Whether one more failure ends the job as FAILED_PERMANENT."""
        return self._message.failures >= self._message.max_attempts - 1

    @property
    def priority(self) -> int:
        """-10..10, higher first."""
        return self._message.priority

    @property
    def created_at(self) -> datetime:
        """When the job was enqueued, by the database's clock."""
        return self._message.created_at.ToDatetime(UTC)

    @property
    def timeout(self) -> timedelta | None:
        """How long this attempt may run. None: no limit."""
        return self._message.timeout.ToTimedelta() if self._message.HasField("timeout") else None

    @property
    def labels(self) -> Mapping[str, str]:
        """The producer's own labels."""
        return self._message.labels

    @property
    def headers(self) -> Mapping[str, str]:
        """The producer's headers, with `x-request-id` and `traceparent` of the call that enqueued the job."""
        return self._message.headers

    @property
    def checkpoint(self) -> bytes:
        """The last checkpoint of the earlier attempts. Empty: none."""
        return self._message.checkpoint

    def __repr__(self) -> str:
        return f"<LeasedJob {self.kind} {self.id} attempt {self.attempt}>"
