"""Google Cloud Tasks as far as a test needs it, in memory; its messages and rules are those of Google's library."""

from __future__ import annotations

from typing import Any, ClassVar

from google.api import annotations_pb2
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports.rest_base import _BaseCloudTasksRestTransport
from google.protobuf import descriptor_pb2, empty_pb2, field_mask_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.json_format import ParseDict

from jobqueue_server.chain import Call
from jobqueue_server.errors import (
    FieldInvalid,
    IdempotencyKeyReused,
    JobNotFound,
    JobQueueError,
    PageTokenInvalid,
    QueueNotFound,
)

_METHODS: dict[str, tuple[Any, Any]] = {
    "CreateQueue": (tasks_v2.CreateQueueRequest, tasks_v2.Queue),
    "GetQueue": (tasks_v2.GetQueueRequest, tasks_v2.Queue),
    "UpdateQueue": (tasks_v2.UpdateQueueRequest, tasks_v2.Queue),
    "PauseQueue": (tasks_v2.PauseQueueRequest, tasks_v2.Queue),
    "CreateTask": (tasks_v2.CreateTaskRequest, tasks_v2.Task),
    "ListTasks": (tasks_v2.ListTasksRequest, tasks_v2.ListTasksResponse),
    "DeleteTask": (tasks_v2.DeleteTaskRequest, empty_pb2.Empty),
}
_FILE = "tests/http/cloud_tasks.proto"


def service() -> ServiceDescriptor:
    """The service, of the library's messages and the rules by which its REST transport makes requests."""
    pool = tasks_v2.Queue.pb().DESCRIPTOR.file.pool
    try:
        return pool.FindServiceByName("tests.CloudTasks")
    except KeyError:
        pool.AddSerializedFile(_file().SerializeToString())
    return pool.FindServiceByName("tests.CloudTasks")


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package="tests", syntax="proto3")
    described = file.service.add(name="CloudTasks")
    needed = {annotations_pb2.DESCRIPTOR.name}
    for name, types in _METHODS.items():
        taken, answered = (_descriptor(each) for each in types)
        needed |= {taken.file.name, answered.file.name}
        method = described.method.add(
            name=name, input_type=f".{taken.full_name}", output_type=f".{answered.full_name}"
        )
        (rule,) = getattr(_BaseCloudTasksRestTransport, f"_Base{name}")._get_http_options()
        rule = {rule["method"]: rule["uri"], "body": rule.get("body", "")}
        ParseDict(rule, method.options.Extensions[annotations_pb2.http])
    file.dependency.extend(sorted(needed))
    return file


def _descriptor(kind: Any) -> Any:
    return kind.pb().DESCRIPTOR if hasattr(kind, "pb") else kind.DESCRIPTOR


class CloudTasks:
    """The servicer.

    Attributes:
        failures: What the next calls are answered instead, each once.
        seen: Every request, in order.
    """

    _State: ClassVar[Any] = tasks_v2.Queue.State

    def __init__(self) -> None:
        self.queues: dict[str, Any] = {}
        self.tasks: dict[str, Any] = {}
        self.failures: list[JobQueueError] = []
        self.seen: list[Any] = []

    async def CreateQueue(self, request: Any, call: Call) -> Any:
        self._begin(request)
        queue = request.queue
        if not queue.name.startswith(f"{request.parent}/queues/"):
            raise FieldInvalid.of("queue.name", f"must be below {request.parent}/queues/")
        if queue.name in self.queues:
            raise IdempotencyKeyReused(f"{queue.name} is there already")
        queue.state = self._State.RUNNING
        self.queues[queue.name] = queue
        return queue

    async def GetQueue(self, request: Any, call: Call) -> Any:
        self._begin(request)
        return self._queue(request.name)

    async def UpdateQueue(self, request: Any, call: Call) -> Any:
        self._begin(request)
        queue = self._queue(request.queue.name)
        mask: field_mask_pb2.FieldMask = request.update_mask
        mask.MergeMessage(request.queue, queue)
        return queue

    async def PauseQueue(self, request: Any, call: Call) -> Any:
        self._begin(request)
        queue = self._queue(request.name)
        queue.state = self._State.PAUSED
        return queue

    async def CreateTask(self, request: Any, call: Call) -> Any:
        self._begin(request)
        self._queue(request.parent)
        task = request.task
        task.name = task.name or f"{request.parent}/tasks/{len(self.tasks)}"
        self.tasks[task.name] = task
        return task

    async def ListTasks(self, request: Any, call: Call) -> Any:
        self._begin(request)
        start = request.page_token or "0"
        if not start.isdecimal():
            raise PageTokenInvalid("page_token is none of ours")
        found = [task for name, task in self.tasks.items() if name.startswith(f"{request.parent}/tasks/")]
        end = int(start) + (request.page_size or 100)
        more = str(end) if end < len(found) else ""
        return tasks_v2.ListTasksResponse.pb()(tasks=found[int(start) : end], next_page_token=more)

    async def DeleteTask(self, request: Any, call: Call) -> Any:
        self._begin(request)
        if self.tasks.pop(request.name, None) is None:
            raise JobNotFound(f"there is no {request.name}", metadata={"name": request.name})
        return empty_pb2.Empty()

    def _begin(self, request: Any) -> None:
        self.seen.append(request)
        if self.failures:
            raise self.failures.pop(0)

    def _queue(self, name: str) -> Any:
        if name not in self.queues:
            raise QueueNotFound(f"there is no {name}")
        return self.queues[name]
