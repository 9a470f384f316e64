"""What an error suggests is right: each hint of each wrong name of the API, taken by the letter, is accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor

from jobqueue.v1 import (
    access_admin_pb2,
    bulk_pb2,
    insight_pb2,
    jobqueue_pb2,
    overview_pb2,
    queue_admin_pb2,
    schedule_pb2,
    stats_pb2,
)
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.http.contract import OPTIONS
from jobqueue_server.http.transcoding.binding import Binding
from jobqueue_server.http.transcoding.errors import TranscodingError
from jobqueue_server.http.transcoding.transcoder import Transcoder
from jobqueue_server.rpc import key_policy, kind_values, queue_keys, schedule_values
from jobqueue_server.rpc.checks import Problems
from tests.rpc.conftest import FixedClock

pytestmark = pytest.mark.unit

MODULES = (
    access_admin_pb2, bulk_pb2, insight_pb2, jobqueue_pb2, overview_pb2, queue_admin_pb2, schedule_pb2, stats_pb2,
)  # fmt: skip
TRANSCODER = Transcoder(
    [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()], OPTIONS
)
JSON = {"content-type": "application/json"}
MEANT = re.compile(r"did you mean \"?([\w.]+)\"?\?")

#: By a path of REST: its method, what the server may change of the resource, and who says what is wrong with a mask.
MASKS: dict[str, tuple[str, Any, Callable[[Any, Problems], object]]] = {
    "/v1/queues/mail": ("PATCH", key_policy.PATHS, key_policy.changes),
    "/v1/queues/mail/keys/a": ("PATCH", queue_keys._FIELDS, queue_keys._changes),
    "/v1/schedules/s": (
        "PATCH",
        schedule_values.PATHS,
        lambda request, problems: schedule_values.changes(request, FixedClock().now(), problems),
    ),
    "/v1/kinds/mail": ("PUT", tuple(kind_values.PATHS), kind_values.fields_named),
}
#: Fields that a mask may name where the resource sets them.
SET = {"spec": {"cron": ["0 3 * * *"]}, "job": {"kind": "mail"}}


def misspelt(name: str) -> str:
    """The name without one of its letters, of its last part."""
    at = name.rfind(".") + 1
    return name[: at + 1] + name[at + 2 :]


def camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda letter: letter[1].upper(), path)


def asked(method: str, path: str, query: str = "", body: object = None) -> Any:
    match = TRANSCODER.match(method, path.encode())
    text = b"" if body is None else json.dumps(body).encode()
    return TRANSCODER.fill(match, query.encode(), JSON, text)


def wrong_of_mask(place: str, mask: str) -> str:
    """What the server says of a mask over REST; "": it is right."""
    method, _, check = MASKS[place]
    body = {name: value for name, value in SET.items() if name == mask}
    request = asked(method, place, f"update_mask={mask}", body)
    problems = Problems()
    check(request, problems)
    try:
        problems.raise_if_any()
    except FieldInvalid as error:
        return next((one.description for one in error.violations if one.field == "update_mask"), "")
    return ""


@pytest.mark.parametrize("place", MASKS)
def test_a_wrong_path_of_a_mask_leads_to_one_that_is_taken(place: str) -> None:
    known = MASKS[place][1]
    for path in known:
        for spelling in (path, camel(path)):
            assert not wrong_of_mask(place, spelling), spelling
            # The parts of a spec, a job and a rate are no paths, whatever they are called.
            said = wrong_of_mask(place, misspelt(spelling))
            hint = MEANT.search(said)
            assert hint, said
            assert hint[1] in known
            assert not wrong_of_mask(place, hint[1])
            # What it lists is right too.
            listed = said.partition("only these can be changed: ")[2].partition(";")[0].split(", ")
            assert set(listed) == set(known)


@pytest.mark.parametrize("place", ["/v1/queues/mail", "/v1/queues/mail/keys/a", "/v1/schedules/s"])
def test_who_changes_nothing_is_told_what_could_be_changed(place: str) -> None:
    method, known, check = MASKS[place]
    problems = Problems()
    check(asked(method, place, body={}), problems)
    with pytest.raises(FieldInvalid) as caught:
        problems.raise_if_any()
    for path in str(caught.value).partition("one of these: ")[2].split(", "):
        assert path in known


@pytest.mark.parametrize("place", ["/v1/queues/mail", "/v1/schedules/s"])
def test_who_would_pause_by_a_patch_is_told_of_the_method_that_does(place: str) -> None:
    method, _, check = MASKS[place]
    problems = Problems()
    check(asked(method, place, body={"paused": True}), problems)
    with pytest.raises(
        FieldInvalid, match=r"paused: can't be changed here; Pause\w+ and Resume\w+ change it"
    ):
        problems.raise_if_any()


def is_the_servers(descriptor: Descriptor, name: str) -> bool:
    options = descriptor.fields_by_name[name].GetOptions()
    return field_behavior_pb2.OUTPUT_ONLY in options.Extensions[field_behavior_pb2.field_behavior]


def url_of(binding: Binding) -> str:
    """A path that the binding has."""
    return re.sub(
        r"\{[^=}]*=operations/\*\}", "operations/x", re.sub(r"\{[\w.]+\}", "x", binding.template.text)
    )


def those(has: Callable[[Binding], bool]) -> list[Any]:
    return [pytest.param(each, id=each.method.name) for each in TRANSCODER.bindings if has(each)]


@pytest.mark.parametrize("binding", those(lambda binding: bool(binding.body)))
def test_a_wrong_field_of_a_body_leads_to_one_that_a_caller_may_set(binding: Binding) -> None:
    request = binding.method.input_type
    of = request if binding.body == "*" else request.fields_by_name[binding.body].message_type
    assert of is not None
    for name in of.fields_by_name:
        wrong = misspelt(name)
        with pytest.raises(TranscodingError) as caught:
            asked(binding.http_method, url_of(binding), body={wrong: None})
        for hint in MEANT.findall(caught.value.message):
            assert not is_the_servers(of, hint), f"{wrong}: {caught.value.message}"
        listed = re.search(r"known are (.*)", caught.value.message)
        for each in listed[1].split(", ") if listed else ():
            assert not is_the_servers(of, each), caught.value.message


@pytest.mark.parametrize("place", MASKS)
def test_what_belongs_around_the_resource_is_not_a_field_of_it_and_says_so(place: str) -> None:
    method = MASKS[place][0]
    body = TRANSCODER.match(method, place.encode()).route.body
    with pytest.raises(TranscodingError, match=rf"{body}.update_mask: is a parameter of the query"):
        asked(method, place, body={"update_mask": "x"})
    with pytest.raises(TranscodingError, match=f"must be left out: the body is the {body} itself"):
        asked(method, place, body={body: {}})


@pytest.mark.parametrize("binding", those(lambda binding: binding.body != "*"))
def test_a_wrong_parameter_leads_to_one_that_there_is(binding: Binding) -> None:
    def said(name: str) -> str:
        try:
            asked(binding.http_method, url_of(binding), f"{name}=1")
        except TranscodingError as error:
            return error.message
        return ""

    for field in binding.method.input_type.fields:
        message = said(misspelt(field.name))
        listed = re.search(r"known are (.*)", message)
        for hint in [*MEANT.findall(message), *(listed[1].split(", ") if listed else ())]:
            # A value may be wrong; the name is not.
            assert not re.search("is no query param|comes |is a message|query can't", said(hint)), hint
