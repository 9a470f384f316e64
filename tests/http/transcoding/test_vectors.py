from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from jobqueue_server.http.transcoding.errors import RuleError, TranscodingError
from jobqueue_server.http.transcoding.options import Options, PrintOptions
from jobqueue_server.http.transcoding.render import Renderer
from jobqueue_server.http.transcoding.router import Router
from jobqueue_server.http.transcoding.template import Template, parse
from jobqueue_server.http.transcoding.transcoder import Transcoder
from tests.http.transcoding.conftest import RAW_JSON, Routed, route, vectors

pytestmark = pytest.mark.unit

JSON = {"content-type": "application/json"}
# Only what is set, so that a vector names what it is about.
BRIEF = Renderer(Options(RAW_JSON, print_options=PrintOptions(always_print_primitive_fields=False)))


@dataclass(frozen=True)
class Route:
    http_method: str
    template: Template
    selector: str = "test"


@pytest.fixture(scope="module")
def router() -> Router[Route]:
    router: Router[Route] = Router()
    for method, template in vectors("matcher_templates.json"):
        router.add(Route(method, parse(template)))
    return router


def post(transcoder: Transcoder, body: str) -> Routed:
    return route(transcoder, "POST", b"/v1/everything", b"", JSON, body.encode())


def get(transcoder: Transcoder, query: str) -> Routed:
    return route(transcoder, "GET", b"/v1/everything", query.encode(), {}, b"")


def brief(prepared: Routed) -> Any:
    return json.loads(BRIEF.message(prepared.request))


def told(vector: dict[str, Any], error: TranscodingError) -> None:
    assert error.http_status == 400, error
    assert error.code == "INVALID_ARGUMENT"
    assert vector["says"] in error.message
    if vector["field"]:
        assert [violation.field for violation in error.violations] == [vector["field"]]


@pytest.mark.parametrize("vector", vectors("templates.json"), ids=lambda vector: vector["template"])
def test_templates_are_read_by_the_grammar(vector):
    if vector.get("refused"):
        with pytest.raises(RuleError):
            parse(vector["template"])
        return
    template = parse(vector["template"])
    assert template.text == vector["template"]
    assert list(template.segments) == vector["segments"]
    assert template.verb == vector["verb"]
    assert [[variable.field, variable.multi] for variable in template.variables] == vector["variables"]


@pytest.mark.parametrize("vector", vectors("matcher.json"), ids=lambda v: f"{v['method']} {v['path']}")
def test_a_raw_path_finds_its_template(router, vector):
    if "status" not in vector:
        match = router.match(vector["method"], vector["path"])
        assert match.route.template.text == vector["template"]
        assert dict(match.values) == vector["values"]
        return
    with pytest.raises(TranscodingError) as refused:
        router.match(vector["method"], vector["path"])
    assert refused.value.http_status == vector["status"]
    assert list(refused.value.allow) == vector.get("allow", [])
    assert vector.get("says", "") in refused.value.message


@pytest.mark.parametrize(
    "vector", vectors("scalars.json"), ids=lambda v: f"{v['field']} {v.get('json') or v.get('query')}"
)
def test_scalars_are_read_by_protojson_and_no_wider(transcoder, vector):
    field = vector["field"]

    def send() -> Routed:
        if "json" in vector:
            return post(transcoder, f'{{"{field}": {vector["json"]}}}')
        return get(transcoder, f"{field}={vector['query']}")

    if vector.get("refused"):
        with pytest.raises(TranscodingError) as refused:
            send()
        assert refused.value.http_status == 400
        return
    answer = json.loads(transcoder.render_message(send().request))
    assert answer[field] == vector["value"]
    assert type(answer[field]) is type(vector["value"]) or isinstance(vector["value"], float)


@pytest.mark.parametrize("vector", vectors("bodies.json"), ids=lambda vector: vector["body"][:60])
def test_a_body_is_read_whole_or_refused_with_the_path_of_the_field(transcoder, vector):
    if "raw" in vector:
        prepared = post(transcoder, vector["body"])
        assert prepared.request.document.content_json == vector["raw"].encode()
        assert f'"content_value":{vector["raw"]}'.encode() in transcoder.render_message(prepared.request)
    elif "message" in vector:
        assert brief(post(transcoder, vector["body"])) == vector["message"]
    else:
        with pytest.raises(TranscodingError) as refused:
            post(transcoder, vector["body"])
        told(vector, refused.value)


@pytest.mark.parametrize("vector", vectors("queries.json"), ids=lambda vector: vector["query"])
def test_a_query_is_read_whole_or_refused_with_the_parameter(transcoder, vector):
    if "message" in vector:
        assert brief(get(transcoder, vector["query"])) == vector["message"]
        return
    with pytest.raises(TranscodingError) as refused:
        get(transcoder, vector["query"])
    told(vector, refused.value)


@pytest.mark.parametrize("vector", vectors("problems.json"), ids=lambda v: f"{v['query']} {v['body']}"[:60])
def test_all_that_is_wrong_is_said_at_once_with_a_bound(transcoder, vector):
    with pytest.raises(TranscodingError) as refused:
        route(
            transcoder,
            vector["method"],
            vector["path"].encode(),
            vector["query"].encode(),
            JSON,
            vector["body"].encode(),
        )
    assert refused.value.http_status == 400
    assert [violation.field for violation in refused.value.violations] == vector["fields"]
    for violation in refused.value.violations:
        assert f"{violation.field}: {violation.description}" in refused.value.message
