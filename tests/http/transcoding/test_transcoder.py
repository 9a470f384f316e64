from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import any_pb2
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import jobqueue_pb2, queue_admin_pb2
from jobqueue_server.http.transcoding.errors import RuleError, TranscodingError
from jobqueue_server.http.transcoding.options import Options, PrintOptions
from jobqueue_server.http.transcoding.percent import UnescapeSpec
from jobqueue_server.http.transcoding.transcoder import Transcoder
from tests.http.transcoding.conftest import RAW_JSON, compile_service, route

pytestmark = pytest.mark.unit

JSON = {"content-type": "application/json"}


def refused(transcoder, method, path, query="", headers=JSON, body=b"") -> TranscodingError:
    with pytest.raises(TranscodingError) as error:
        route(transcoder, method, path.encode(), query.encode(), headers, body)
    return error.value


def test_path_body_and_query_fill_one_request(transcoder):
    prepared = route(
        transcoder,
        "PUT",
        b"/v1/everything/a%2Fb/c",
        b"int32=5&mask=a",
        JSON,
        b'{"kind":"hard_cover","string":"c"}',
    )
    request = prepared.request
    assert (request.string, request.child.string, request.child.kind, request.int32) == ("a/b", "c", 2, 5)
    assert prepared.binding.method.name == "Send"


def test_path_and_body_may_say_the_same_but_not_otherwise(transcoder):
    error = refused(transcoder, "PUT", "/v1/everything/a/c", body=b'{"string":"d"}')
    assert error.violations[0].field == "child.string"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("string=x", "comes from the path"),
        ("child.string=x", "comes from the path"),
        ("child.int32=1", "comes in the body"),
        ("child=1", "comes in the body"),
    ],
)
def test_what_path_or_body_bind_is_no_query_parameter(transcoder, query, says):
    error = refused(transcoder, "PUT", "/v1/everything/a/b", query, body=b"{}")
    assert error.http_status == 400
    assert says in error.message


def test_where_the_body_is_all_there_are_no_query_parameters(transcoder):
    assert "in the body" in refused(transcoder, "POST", "/v1/everything", "int32=1", body=b"{}").message
    assert "in the body" in refused(transcoder, "POST", "/v1/everything", "nope=1", body=b"{}").message
    route(transcoder, "POST", b"/v1/everything", b"$alt=json", JSON, b"{}")


def test_typed_variables_are_read_as_their_types(transcoder):
    request = route(
        transcoder, "GET", b"/v1/typed/5/paper_back/2006-01-02T15%3A04%3A05Z", b"", {}, b""
    ).request
    assert (request.int32, request.kind, request.timestamp.ToJsonString()) == (5, 1, "2006-01-02T15:04:05Z")
    error = refused(transcoder, "GET", "/v1/typed/x/1/2006-01-02T15:04:05Z")
    assert error.http_status == 404, "the last colon starts a verb"
    assert refused(transcoder, "GET", "/v1/typed/x/1/2").violations[0].field == "int32"


def test_a_list_or_a_value_may_be_the_body_and_the_answer(transcoder):
    prepared = route(transcoder, "PUT", b"/v1/strings", b"int32=1", JSON, b'["a","b"]')
    assert transcoder.render(prepared.binding, prepared.request).body == b'["a","b"]'
    assert refused(transcoder, "PUT", "/v1/strings", body=b"null").violations[0].field == "strings"
    assert refused(transcoder, "PUT", "/v1/strings", body=b'["a",1]').violations[0].field == "strings[1]"
    prepared = route(transcoder, "PUT", b"/v1/value", b"", JSON, b"null")
    assert prepared.request.HasField("value")
    assert transcoder.render(prepared.binding, prepared.request).body == b"null"


def test_a_multi_segment_variable_keeps_its_slashes_and_its_verb_is_cut(transcoder):
    path = b"/v1/named/shelves/a%2Fb/books/c/d%20e:touch"
    assert route(transcoder, "POST", path, b"", JSON, b"").request.name == "shelves/a%2Fb/books/c/d e"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (UnescapeSpec.ALL_CHARACTERS_EXCEPT_SLASH, "shelves/a%2Fb/books/: #"),
        (UnescapeSpec.ALL_CHARACTERS_EXCEPT_RESERVED, "shelves/a%2Fb/books/%3A %23"),
        (UnescapeSpec.ALL_CHARACTERS, "shelves/a/b/books/: #"),
    ],
)
def test_what_is_decoded_in_several_segments_is_a_switch(library, spec, name):
    transcoder = Transcoder([library], Options(url_unescape_spec=spec))
    path = b"/v1/named/shelves/a%2Fb/books/%3A%20%23:touch"
    assert route(transcoder, "POST", path, b"", JSON, b"").request.name == name


def test_http_body_is_neither_read_nor_written(transcoder):
    prepared = route(transcoder, "POST", b"/v1/upload", b"", {"content-type": "image/png"}, b"\x89PNG")
    assert (prepared.request.content_type, prepared.request.data) == ("image/png", b"\x89PNG")
    answer = transcoder.render(prepared.binding, HttpBody(content_type="text/csv", data=b"a,b"))
    assert (answer.content_type, answer.body) == ("text/csv", b"a,b")


@pytest.mark.parametrize(
    "kind", ["", "application/json", "Application/JSON; charset=UTF-8", "application/a+json"]
)
def test_json_is_taken_by_its_content_types(transcoder, kind):
    assert route(
        transcoder, "POST", b"/v1/everything", b"", {"content-type": kind}, b'{"int32":1}'
    ).request.int32


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json"]
)
def test_other_content_types_are_415(transcoder, kind):
    assert (
        refused(transcoder, "POST", "/v1/everything", headers={"content-type": kind}, body=b"{}").http_status
        == 415
    )


def test_a_body_where_none_belongs_is_refused(transcoder):
    assert "takes no body" in refused(transcoder, "GET", "/v1/everything", body=b"{}").message


def test_a_body_must_be_utf8(transcoder):
    assert "byte 11" in refused(transcoder, "POST", "/v1/everything", body=b'{"string":"\xff"}').message


def test_what_is_lenient_is_lenient_by_its_switch_only(library):
    lenient = Transcoder(
        [library],
        Options(
            ignore_unknown_query_parameters=True, ignore_unknown_fields=True, query_param_unescape_plus=False
        ),
    )
    assert route(lenient, "GET", b"/v1/everything", b"nope=1&string=a+b", {}, b"").request.string == "a+b"
    assert route(lenient, "POST", b"/v1/everything", b"", JSON, b'{"nope":[1],"int32":1}').request.int32 == 1
    strict = Transcoder([library], Options(case_insensitive_enum_parsing=False))
    assert refused(strict, "GET", "/v1/everything", "kind=paper_back").violations[0].field == "kind"
    by_name = Transcoder([library], Options(match_unregistered_custom_verb=False))
    error = refused(by_name, "GET", "/v1/typed/1/1/a:b")
    assert error.violations[0].field == "timestamp", "an unregistered verb is a part of the segment"


def test_answers_print_what_is_empty_and_leave_out_what_is_unset(transcoder):
    message = route(transcoder, "GET", b"/v1/everything", b"", {}, b"").request
    answer = json.loads(transcoder.render_message(message))
    assert answer == {
        "int32": 0, "int64": "0", "uint32": 0, "uint64": "0", "float": 0, "double": 0, "bool": False,
        "string": "", "bytes": "", "kind": "KIND_UNSPECIFIED", "numbers": [], "strings": [], "kinds": [],
        "labels": {}, "by_number": {}, "by_bool": {}, "children": [], "documents": [], "name": "",
    }  # fmt: skip


def test_print_options_are_switches(library):
    options = PrintOptions(
        preserve_proto_field_names=False, always_print_primitive_fields=False, always_print_enums_as_ints=True
    )
    transcoder = Transcoder([library], Options(RAW_JSON, print_options=options))
    body = b'{"wrapped_int64":1,"kind":"PAPER_BACK","document":{"content_value":7}}'
    request = route(transcoder, "POST", b"/v1/everything", b"", JSON, body).request
    assert json.loads(transcoder.render_message(request)) == {
        "wrappedInt64": "1", "kind": 1, "document": {"contentValue": 7},
    }  # fmt: skip


def test_details_of_a_status_are_written_and_unknown_ones_keep_their_bytes(transcoder):
    status = status_pb2.Status(code=3, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="R", domain="d"))
    status.details.append(any_pb2.Any(type_url="type.googleapis.com/no.Such", value=b"\x01"))
    assert json.loads(transcoder.render_message(status)) == {
        "code": 3,
        "message": "no",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "R",
                "domain": "d",
                "metadata": {},
            },
            {"@type": "type.googleapis.com/no.Such", "value": "AQ=="},
        ],
    }


def test_a_long_body_of_open_strings_takes_no_long_time(transcoder):
    body = b'{"string":"' + b'\\"[' * 300_000
    assert refused(transcoder, "POST", "/v1/everything", body=body).http_status == 400


SERVICES = [
    jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"],
    queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"],
]


def test_every_binding_of_the_contract_routes_to_its_method():
    transcoder = Transcoder(SERVICES)
    assert len(transcoder.bindings) > 15
    for binding in transcoder.bindings:
        segments = [
            f"v{i}" if segment == "*" else segment for i, segment in enumerate(binding.template.segments)
        ]
        path = "/" + "/".join(segments) + (":" + binding.template.verb if binding.template.verb else "")
        prepared = route(transcoder, binding.http_method, path.encode(), b"", JSON, b"")
        assert prepared.binding is binding
        for variable in binding.template.variables:
            target = binding.variables[variable.field]
            assert target.given(prepared.request) == f"v{variable.start}"
        answer = transcoder.render(prepared.binding, GetMessageClass(binding.method.output_type)())
        assert isinstance(json.loads(answer.body), dict)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ('get: "/a" additional_bindings {get: "/a"}', "same paths"),
        ('get: "/{name}" additional_bindings {get: "/{int32}"}', "same paths"),
        ('get: "/{nope}"', "no"),
        ('get: "/{strings}"', "repeated"),
        ('get: "/{child}"', "message"),
        ('get: "/{labels.a}"', "map"),
        ('get: "/a" body: "*"', "no meaning"),
        ('post: "/a" body: "nope"', "no field"),
        ('post: "/a" response_body: "nope"', "no field"),
        ('post: "/{name}" body: "name"', "body as well"),
        ('get: "a"', "slash"),
        ('body: "*"', "no path"),
        ('get: "/a" additional_bindings {get: "/b" additional_bindings {get: "/c"}}', "of its own"),
        ('custom {path: "/a"}', "kind"),
    ],
)
def test_a_wrong_rule_is_refused_at_start_with_the_method(tmp_path: Path, rules: str, says: str):
    proto = tmp_path / "wrong.proto"
    proto.write_text(
        'syntax = "proto3"; package wrong; import "google/api/annotations.proto";\n'
        f"service S {{ rpc Call(M) returns (M) {{ option (google.api.http) = {{ {rules} }}; }} }}\n"
        "message M { string name = 1; int32 int32 = 2; repeated string strings = 3; M child = 4;"
        " map<string, string> labels = 5; }\n"
    )
    pool = compile_service(tmp_path, proto, tmp_path / "wrong.binpb")
    with pytest.raises(RuleError) as error:
        Transcoder([pool.FindServiceByName("wrong.S")])
    assert says in str(error.value)
    assert "wrong.S.Call" in str(error.value)


def test_a_setting_of_raw_json_that_names_nothing_is_refused_at_start(library):
    with pytest.raises(RuleError, match="no message"):
        Transcoder([library], Options(raw_json={"transcoding.test.Nope": ("a", "b")}))
    with pytest.raises(RuleError, match="no field"):
        Transcoder([library], Options(raw_json={"transcoding.test.Document": ("content_value", "b")}))
    with pytest.raises(RuleError, match="bytes"):
        Transcoder([library], Options(raw_json={"transcoding.test.Document": ("content_value", "title")}))


def test_problems_deep_within_a_long_body_take_no_long_time(transcoder):
    """A value with a problem in it is read once more at most, however deep it lies."""
    depth, wide = 47, b"[%s]" % b",".join([b"{}"] * 6_000)
    for opening, closing in ((b'{"child":', b"}"), (b'{"by_number":{"1":', b"}}")):
        body = (
            opening * depth + b'{"int32":%s,"nope":[%s]}' % (wide, b",".join([wide] * 30)) + closing * depth
        )
        before = time.process_time()
        error = refused(transcoder, "POST", "/v1/everything", body=body)
        assert len(error.violations) == 2
        assert time.process_time() - before < 1


def test_no_more_is_looked_for_once_enough_is_wrong(transcoder):
    body = b"{" + b",".join(b'"nope%d":1' % number for number in range(100_000)) + b"}"
    query = "&".join(f"nope{number}=1" for number in range(5_000))
    before = time.process_time()
    assert len(refused(transcoder, "POST", "/v1/everything", body=body).violations) == 20
    assert len(refused(transcoder, "GET", "/v1/everything", query).violations) == 20
    assert time.process_time() - before < 0.5
