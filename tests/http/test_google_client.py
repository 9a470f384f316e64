"""A client library of Google's, over its REST transport, before a service that the transcoder serves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from google.protobuf import duration_pb2, field_mask_pb2

from jobqueue_server.chain import Chain
from jobqueue_server.errors import DatabaseAway, QueueFull
from jobqueue_server.http.app import HttpApp
from jobqueue_server.http.contract import Contract
from jobqueue_server.http.errors import ErrorForm
from jobqueue_server.http.ops import Operations
from jobqueue_server.http.server import HttpServer
from jobqueue_server.http.transcoding.options import Options, PrintOptions
from jobqueue_server.metrics import Metrics

from .cloud_tasks import CloudTasks, service
from .conftest import Caller

PARENT = "projects/p/locations/l"
QUEUE = f"{PARENT}/queues/mail"
# As Google's own servers answer that library.
GOOGLES = PrintOptions(
    preserve_proto_field_names=False, always_print_primitive_fields=False, always_print_enums_as_ints=True
)


@dataclass
class Served:
    """Google's client, the service before which it stands, and a plain caller of the same server."""

    client: tasks_v2.CloudTasksClient
    tasks: CloudTasks
    call: Caller

    async def __call__(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A call of the client, which blocks, in a thread."""
        return await asyncio.to_thread(getattr(self.client, method), *arguments, **named)


@asynccontextmanager
async def serving(printing: PrintOptions) -> AsyncIterator[Served]:
    tasks, metrics = CloudTasks(), Metrics()
    app = HttpApp(
        Chain(metrics),
        [(service(), tasks)],
        Operations(metrics, str),
        ErrorForm(aip193=True),
        Contract(Options(print_options=printing)),
    )
    server = HttpServer(app)
    port = await server.start("127.0.0.1:0")
    transport = CloudTasksRestTransport(
        host=f"127.0.0.1:{port}", credentials=AnonymousCredentials(), url_scheme="http"
    )
    client = tasks_v2.CloudTasksClient(transport=transport)
    call = Caller(port)
    try:
        yield Served(client, tasks, call)
    finally:
        await call.session.close()
        await asyncio.to_thread(transport.close)
        await server.stop(timedelta(0))


@pytest.fixture(params=[GOOGLES, PrintOptions()], ids=["as Google prints", "as we print"])
async def google(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serving(request.param) as served:
        yield served


@pytest.fixture
async def queue(google: Served) -> tasks_v2.Queue:
    made = tasks_v2.Queue(name=QUEUE, rate_limits=tasks_v2.RateLimits(max_dispatches_per_second=2.5))
    return await google("create_queue", parent=PARENT, queue=made)


async def test_a_resource_is_made_and_read_with_its_enum(google: Served, queue: tasks_v2.Queue) -> None:
    assert queue.name == QUEUE
    assert queue.state is tasks_v2.Queue.State.RUNNING
    assert queue.rate_limits.max_dispatches_per_second == 2.5
    assert await google("get_queue", name=QUEUE) == queue


async def test_an_update_changes_what_its_mask_names(google: Served, queue: tasks_v2.Queue) -> None:
    changed = tasks_v2.Queue(
        name=QUEUE,
        rate_limits=tasks_v2.RateLimits(max_concurrent_dispatches=7, max_dispatches_per_second=9),
        retry_config=tasks_v2.RetryConfig(max_attempts=3, max_backoff=timedelta(milliseconds=1500)),
    )
    mask = field_mask_pb2.FieldMask(paths=["rate_limits.max_concurrent_dispatches", "retry_config"])
    updated = await google("update_queue", queue=changed, update_mask=mask)
    assert list(google.tasks.seen[-1].update_mask.paths) == mask.paths
    assert updated.rate_limits.max_concurrent_dispatches == 7
    assert updated.rate_limits.max_dispatches_per_second == 2.5
    assert updated.retry_config.max_backoff == timedelta(milliseconds=1500)


async def test_a_verb_is_called_with_an_empty_body(google: Served, queue: tasks_v2.Queue) -> None:
    assert (await google("pause_queue", name=QUEUE)).state is tasks_v2.Queue.State.PAUSED


async def test_bytes_maps_times_and_enums_come_back_as_they_went(
    google: Served, queue: tasks_v2.Queue
) -> None:
    task = tasks_v2.Task(
        name=f"{QUEUE}/tasks/first",
        http_request=tasks_v2.HttpRequest(
            url="https://example.com/?a=b&c=%2F",
            http_method=tasks_v2.HttpMethod.PUT,
            headers={"X-Name": 'ä "ö"', "a.b": "1"},
            body=bytes(range(256)),
        ),
        schedule_time=datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC),
        dispatch_deadline=duration_pb2.Duration(seconds=90, nanos=5_000),
        dispatch_count=3,
    )
    request = tasks_v2.CreateTaskRequest(parent=QUEUE, task=task, response_view=tasks_v2.Task.View.FULL)
    made = await google("create_task", request)
    assert made == task
    assert google.tasks.seen[-1] == tasks_v2.CreateTaskRequest.pb(request)


async def test_pages_are_turned_until_the_last(google: Served, queue: tasks_v2.Queue) -> None:
    names = [f"{QUEUE}/tasks/{index}" for index in range(5)]
    for name in names:
        await google("create_task", parent=QUEUE, task=tasks_v2.Task(name=name))
    request = tasks_v2.ListTasksRequest(parent=QUEUE, page_size=2, response_view=tasks_v2.Task.View.BASIC)
    pages = await asyncio.to_thread(lambda: list(google.client.list_tasks(request).pages))
    assert [[task.name for task in page.tasks] for page in pages] == [names[:2], names[2:4], names[4:]]
    assert google.tasks.seen[-1].response_view == tasks_v2.Task.View.BASIC


@pytest.mark.parametrize("name", ["a b", "ä+%2F", "x:y", "?q=1&b#c"])
async def test_a_name_of_any_characters_is_the_same_there(
    google: Served, queue: tasks_v2.Queue, name: str
) -> None:
    full = f"{QUEUE}/tasks/{name}"
    await google("create_task", parent=QUEUE, task=tasks_v2.Task(name=full))
    assert await google("delete_task", name=full) is None
    assert google.tasks.seen[-1].name == full
    assert not google.tasks.tasks


async def test_what_is_missing_is_raised_with_its_reason(google: Served) -> None:
    with pytest.raises(exceptions.NotFound, match="there is no") as caught:
        await google("delete_task", name=f"{QUEUE}/tasks/none")
    assert (caught.value.reason, caught.value.domain) == ("JOB_NOT_FOUND", "jobqueue")
    assert caught.value.metadata == {"name": f"{QUEUE}/tasks/none"}


@pytest.mark.parametrize(
    ("method", "arguments", "raised", "reason"),
    [
        ("create_queue", {"parent": PARENT, "queue": {"name": QUEUE}}, exceptions.Conflict, None),
        ("create_queue", {"parent": PARENT, "queue": {"name": "x"}}, exceptions.BadRequest, "FIELD_INVALID"),
        ("pause_queue", {"name": f"{QUEUE}x"}, exceptions.NotFound, "QUEUE_NOT_FOUND"),
    ],
)
async def test_a_refusal_is_raised_as_what_it_is(
    google: Served,
    queue: tasks_v2.Queue,
    method: str,
    arguments: Any,
    raised: type[exceptions.GoogleAPICallError],
    reason: str | None,
) -> None:
    with pytest.raises(raised) as caught:
        await google(method, **arguments)
    assert reason is None or caught.value.reason == reason


async def test_shed_load_is_raised_with_when_to_come_again(google: Served, queue: tasks_v2.Queue) -> None:
    google.tasks.failures.append(QueueFull("too many", retry_after=timedelta(seconds=2)))
    with pytest.raises(exceptions.TooManyRequests) as caught:
        await google("pause_queue", name=QUEUE)
    (retry,) = [detail for detail in caught.value.details if detail["@type"].endswith("RetryInfo")]
    assert retry["retry_delay"] == "2s"


async def test_the_client_tries_again_what_was_unavailable(google: Served, queue: tasks_v2.Queue) -> None:
    google.tasks.failures.append(DatabaseAway("the database does not answer"))
    assert await google("get_queue", name=QUEUE) == queue
    assert len(google.tasks.seen) == 3


async def test_system_parameters_are_stripped_and_other_unknown_ones_refused(
    google: Served, queue: tasks_v2.Queue
) -> None:
    system = "$alt=json;enum-encoding=int&%24prettyPrint=true&key=k&$.xgafv=2&fields=name&alt=json"
    answer = await google.call("GET", f"/v2/{QUEUE}?{system}")
    assert answer.status == 200
    assert json.loads(answer.text)["name"] == QUEUE
    answer = await google.call("GET", f"/v2/{QUEUE}?$prettyprint=true")
    assert answer.status == 400


async def test_enums_are_numbers_and_names_in_camel_case_where_that_was_said() -> None:
    async with serving(GOOGLES) as google:
        queue = tasks_v2.Queue(name=QUEUE, rate_limits=tasks_v2.RateLimits(max_burst_size=3))
        await google("create_queue", parent=PARENT, queue=queue)
        answer = await google.call("GET", f"/v2/{QUEUE}")
    assert answer.json == {"name": QUEUE, "rateLimits": {"maxBurstSize": 3}, "state": 1}
