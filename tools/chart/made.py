"""Made of the values of the Helm chart: its values.yaml, its schema and docs/deploy/values.md.

`make generate` writes them. Settings of the server are in the schema by their names, so that a misspelt one is refused
before anything is installed.
"""

from __future__ import annotations

import json
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le

from jobqueue_server.settings import Settings, environment_name
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker

from .values import DURATION, DURATION_OF_WORKERS, OWN, OWN_OF_WORKERS, VALUES, WORKER, Group, Value, Values

CHART = "deploy/helm/jobqueue"
# A link of the page, which values.yaml has without its target.
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
EXAMPLE = """\
# workers:
#   mail:
#     queues: [mail]
#     tokenSecret: {name: mail-worker-key}
"""


def documents() -> dict[str, str]:
    """What is made here: each file with its text."""
    return {
        f"{CHART}/values.yaml": values_yaml(),
        f"{CHART}/values.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
        "docs/deploy/values.md": page(),
    }


# ---- the schema


def schema() -> dict[str, Any]:
    """The schema of the values: what is not named is refused."""
    worker = _object(WORKER, defaults=False)
    worker["properties"]["settings"] = settings_schema(WorkerSettings, OWN_OF_WORKERS, of_worker)
    whole = _object(VALUES)
    properties = whole["properties"]
    properties["settings"] = settings_schema(Settings, OWN, environment_name)
    properties["workerDefaults"]["properties"]["settings"] = worker["properties"]["settings"]
    properties["workers"] = {
        "description": VALUES["workers"].text,
        "type": "object",
        # Part of the names of objects.
        "propertyNames": {"pattern": "^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$"},
        "additionalProperties": worker,
    }
    # What Helm itself puts there, for charts that have this one as a part.
    properties["global"] = {"type": "object"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of jobqueue", **whole}


def _object(values: Values, *, defaults: bool = True) -> dict[str, Any]:
    properties = {}
    for name, each in values.items():
        if isinstance(each, Group):
            properties[name] = {"description": each.text, **_object(each.values, defaults=defaults)}
        else:
            default = {"default": each.default} if defaults else {}
            properties[name] = {"description": each.text, **default, **each.schema}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def settings_schema(settings: Any, own: Mapping[str, str], called: Any) -> dict[str, Any]:
    """Each setting that is not the chart's own, by its name in the environment."""
    properties = {
        called(name): {
            "description": field.description,
            **_setting(field.annotation, field.metadata, settings),
        }
        for name, field in settings.model_fields.items()
        if name not in own
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _setting(annotation: Any, metadata: list[Any], settings: Any) -> dict[str, Any]:
    # `X | None`, and `Annotated[X, ...]`.
    while get_origin(annotation) in (Union, types.UnionType) or hasattr(annotation, "__metadata__"):
        metadata = [*metadata, *getattr(annotation, "__metadata__", ())]
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is Literal:
        words: list[Any] = list(get_args(annotation))
        # YAML takes `on` and `off` for true and false.
        return {"enum": [*words, *([True, False] if "on" in words else [])]}
    if annotation is timedelta:
        return dict(DURATION if settings is Settings else DURATION_OF_WORKERS)
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is int:
        low = [each.ge for each in metadata if isinstance(each, Ge)] + [
            1 for each in metadata if isinstance(each, Gt) and each.gt == 0
        ]
        high = [each.le for each in metadata if isinstance(each, Le)]
        return {
            "type": "integer",
            **({"minimum": low[0]} if low else {}),
            **({"maximum": high[0]} if high else {}),
        }
    return {"type": "string"}


# ---- values.yaml


def values_yaml() -> str:
    """All values with their defaults, each below what it is for."""
    head = "# Made by `make generate` from tools/chart.py. Change that instead.\n"
    body = "".join(_yaml(VALUES, ""))
    return head + body.replace("workers: {}\n", f"workers: {{}}\n{EXAMPLE}")


def _yaml(values: Values, indent: str) -> Iterator[str]:
    for name, each in values.items():
        if not indent:
            yield "\n"
        for line in textwrap.wrap(_LINK.sub(r"\1", each.text), 118 - len(indent)):
            yield f"{indent}# {line}\n"
        if isinstance(each, Value):
            yield f"{indent}{name}: {_flow(each.default)}\n"
        elif _is_secret(each):
            yield f'{indent}{name}: {{name: "", key: {_key_of(each)}}}\n'
        else:
            yield f"{indent}{name}:\n"
            yield from _yaml(each.values, indent + "  ")


def _is_secret(group: Group) -> bool:
    return set(group.values) == {"name", "key"}


def _key_of(group: Group) -> str:
    key = group.values["key"]
    assert isinstance(key, Value)
    return str(key.default)


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value and value[0].isalpha() and value.replace("-", "").isalnum():
        return value
    return json.dumps(value)


# ---- the page


HEAD = """\
# Values of the chart

<!-- Made by `make generate` from tools/chart.py. Change that instead. -->

What `--values` and `--set` can say; [Kubernetes](kubernetes.md) says what for. A value that is not in this list is
refused, and so is one of the wrong form. `name` and `key` name a Secret that you made, and one of its keys.

| value | default | meaning |
|---|---|---|
"""

TAIL = """
## Settings

`settings` takes all settings of the [server](../settings.md#jobqueue-server) but those that the chart gives it itself, and
`workers.NAME.settings` all of the [worker](../settings.md#jobqueue-worker) but its own:

| setting | decided by |
|---|---|
"""


def page() -> str:
    """docs/deploy/values.md."""
    rows = [
        f"| `{path}` | {f'`{shown}`' if shown else ''} | {text} |" for path, shown, text in _rows(VALUES, "")
    ]
    own = [f"| `{environment_name(name)}` | {_code(by)} |" for name, by in OWN.items()]
    of_workers = [f"| `{of_worker(name)}` of workers | {_code(by)} |" for name, by in OWN_OF_WORKERS.items()]
    return HEAD + "\n".join(rows) + "\n" + TAIL + "\n".join([*own, *of_workers]) + "\n"


def _code(by: str) -> str:
    head, colon, rest = by.partition(":")
    return by if head == "nothing" else f"`{head}`{colon}{rest}"


def _rows(values: Values, path: str) -> Iterator[tuple[str, str, str]]:
    for name, each in values.items():
        whole = f"{path}{name}"
        if isinstance(each, Value):
            yield whole, "" if each.default in ("", [], {}) else _flow(each.default), each.text
        elif _is_secret(each):
            yield f"{whole}.name", "", each.text
            yield f"{whole}.key", _key_of(each), "Which of its keys."
        else:
            yield whole, "", each.text
            yield from _rows(each.values, f"{whole}.")
