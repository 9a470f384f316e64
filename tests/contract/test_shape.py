"""What every message keeps to, so that callers can guess."""

import re
from collections.abc import Iterator

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto

from jobqueue.v1 import (
    access_admin_pb2,
    access_pb2,
    insight_pb2,
    job_pb2,
    jobqueue_pb2,
    lease_pb2,
    overview_pb2,
    queue_admin_pb2,
    schedule_pb2,
    stats_pb2,
    worker_pb2,
)

pytestmark = pytest.mark.unit

FILES = [
    module.DESCRIPTOR
    for module in (
        access_admin_pb2,
        access_pb2,
        insight_pb2,
        job_pb2,
        jobqueue_pb2,
        lease_pb2,
        overview_pb2,
        queue_admin_pb2,
        schedule_pb2,
        stats_pb2,
        worker_pb2,
    )
]
METHODS = [
    method for file in FILES for service in file.services_by_name.values() for method in service.methods
]
MESSAGES = [message for file in FILES for message in file.message_types_by_name.values()]
ENUMS = [enum for file in FILES for enum in file.enum_types_by_name.values()]
NESTED_ENUMS = [enum for message in MESSAGES for enum in message.enum_types]


def within(message: Descriptor, seen: set[str] | None = None) -> Iterator[Descriptor]:
    """The message and all that it can hold."""
    seen = set() if seen is None else seen
    if message.full_name not in seen:
        seen.add(message.full_name)
        yield message
        for field in message.fields:
            if field.message_type:
                yield from within(field.message_type, seen)


def type_name(field: FieldDescriptor) -> str:
    """The message or enum that the field holds; empty for a scalar."""
    made_of = field.message_type or field.enum_type
    return made_of.full_name if made_of else ""


def by_name(element: Descriptor | EnumDescriptor | FieldDescriptor | MethodDescriptor) -> str:
    return element.full_name


@pytest.mark.parametrize("method", METHODS, ids=by_name)
def test_who_is_answered_json_says_in_which_form(method: MethodDescriptor) -> None:
    answered = {message.name for message in within(method.output_type)}
    if answered & {"Job", "Kind"}:
        assert type_name(method.input_type.fields_by_name["payload_format"]) == "jobqueue.v1.PayloadFormat"
    if "LeasedJob" in answered:
        # The form of a session is said once.
        assert (
            type_name(lease_pb2.Hello.DESCRIPTOR.fields_by_name["payload_format"])
            == "jobqueue.v1.PayloadFormat"
        )


def test_json_always_has_both_forms() -> None:
    fields = [field for message in MESSAGES for field in message.fields]
    for field in (field for field in fields if type_name(field) == "google.protobuf.Value"):
        text = field.containing_type.fields_by_name[f"{field.name}_json"]
        assert text.type == FieldDescriptor.TYPE_BYTES
        assert text.containing_oneof is field.containing_oneof is not None


@pytest.mark.parametrize("method", METHODS, ids=by_name)
def test_every_method_has_a_request_and_a_response_of_its_own(method: MethodDescriptor) -> None:
    assert (method.input_type.name, method.output_type.name) == (
        f"{method.name}Request",
        f"{method.name}Response",
    )


@pytest.mark.parametrize("method", METHODS, ids=by_name)
def test_what_a_binding_names_is_there(method: MethodDescriptor) -> None:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    path = getattr(rule, rule.WhichOneof("pattern") or "get")
    for variable in re.findall(r"{([a-z_.]+)}", path):
        *outer, last = variable.split(".")
        message: Descriptor | None = method.input_type
        for name in outer:
            message = message.fields_by_name[name].message_type if message else None
        assert message
        assert message.fields_by_name[last].type == FieldDescriptor.TYPE_STRING
    assert rule.body in {"", "*", *method.input_type.fields_by_name}
    assert rule.response_body in {"", *method.output_type.fields_by_name}


@pytest.mark.parametrize("method", METHODS, ids=by_name)
def test_lists_of_a_get_are_repeated_scalars(method: MethodDescriptor) -> None:
    """A query string can carry nothing else."""
    if method.GetOptions().Extensions[annotations_pb2.http].get:
        for field in method.input_type.fields:
            assert field.message_type is None or type_name(field).startswith("google.protobuf.")


def test_times_end_in_at() -> None:
    """Except the bounds of lists and pauses, and that of a point, which is nothing but its time."""
    bounds = {"created_after", "created_before", "since", "until", "silent_since", "paused_until", "at"}
    for field in (field for message in MESSAGES for field in message.fields):
        time = type_name(field) == "google.protobuf.Timestamp"
        named = field.name.endswith("_at") or field.name in bounds
        # Until when a name is held is a choice (Unique.until).
        assert time == (named and field.enum_type is None), field


@pytest.mark.parametrize("enum", ENUMS, ids=by_name)
def test_enums_are_prefixed(enum: EnumDescriptor) -> None:
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper()
    assert all(value.name.startswith(f"{prefix}_") for value in enum.values)


def test_the_enums_that_people_read_have_no_prefix() -> None:
    assert [enum.full_name for enum in NESTED_ENUMS] == [
        "jobqueue.v1.Access.Permission",
        "jobqueue.v1.Access.ObjectRule",
        "jobqueue.v1.Reason.Code",
        "jobqueue.v1.Unique.Scope",
        "jobqueue.v1.Unique.Until",
        "jobqueue.v1.Unique.OnConflict",
        "jobqueue.v1.Unique.Field",
        "jobqueue.v1.Unique.Action",
        "jobqueue.v1.Job.Status",
        "jobqueue.v1.Job.Hold",
        "jobqueue.v1.SettleResult.Verdict",
        "jobqueue.v1.Warning.WarningCode",
        "jobqueue.v1.ListQueueKeysRequest.Only",
        "jobqueue.v1.SchedulePolicy.Overlap",
        "jobqueue.v1.SchedulePolicy.CatchUp",
        "jobqueue.v1.ScheduleTick.Rule",
        "jobqueue.v1.ScheduleRun.Cause",
        "jobqueue.v1.ScheduleRun.RunOutcome",
        "jobqueue.v1.Worker.State",
    ]
    assert job_pb2.Job.Status.Name(job_pb2.Job.QUEUED) == "QUEUED"


def test_leases_are_packed() -> None:
    """A thousand of them in 5 kB."""
    full = lease_pb2.Heartbeat(held=[(3 << 32) | number for number in range(1, 1001)])
    assert full.ByteSize() < 5500


def test_no_file_says_how_openapi_is_made() -> None:
    """Options of protoc-gen-openapiv2 make the Python stubs ask for a package that nobody installs."""
    for file in FILES:
        for imported in file.dependencies:
            assert imported.name.startswith(
                ("google/api/", "google/longrunning/", "google/protobuf/", "jobqueue/v1/")
            )


def test_a_filter_can_still_come() -> None:
    request = DescriptorProto()
    jobqueue_pb2.ListJobsRequest.DESCRIPTOR.CopyToProto(request)
    assert request.reserved_name == ["filter"]
    assert len(request.reserved_range) == 1
