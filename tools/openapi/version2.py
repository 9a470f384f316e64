"""The document of OpenAPI 2: made by protoc-gen-openapiv2 where that is installed, held by hashes everywhere."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.generate import lay_out_googleapis, run

from . import programs
from .names import schema_name, variable_name
from .programs import ROOT

DOCUMENT = ROOT / "server/src/jobqueue_server/http/openapi/jobqueue.swagger.json"
CONFIG = ROOT / "proto/openapi.yaml"
#: What the document was made from, and itself; in the form of sha256sum.
SUMS = ROOT / "proto/openapi.sum"

_OPTIONS = (
    "allow_merge=true",
    "merge_file_name=jobqueue",
    "json_names_for_fields=false",
    # Else it would hide the `update_mask` of a PATCH.
    "allow_patch_feature=false",
    "simple_operation_ids=true",
    "openapi_naming_strategy=simple",
    "disable_default_responses=true",
    "preserve_rpc_order=true",
    "use_allof_for_refs=true",
    f"openapi_configuration={CONFIG.relative_to(ROOT)}",
)
# A variable of a path that names a field within a message.
_OF_A_MESSAGE = re.compile(r"{[^}]*\.([^}.]+)}")


def make(plugin: Path) -> str:
    """The document, freshly made."""
    lay_out_googleapis()
    buf = Path(sys.executable).parent / "buf"
    with tempfile.TemporaryDirectory() as folder:
        template = {
            "version": "v2",
            "inputs": [{"directory": "proto"}],
            "plugins": [
                {"local": str(plugin), "out": folder, "strategy": "all", "opt": list(_OPTIONS)},
            ],
        }
        run(buf, "generate", "--template", json.dumps(template))
        made = json.loads((Path(folder) / DOCUMENT.name).read_text())
        return json.dumps(tidied(made), indent=2, ensure_ascii=False) + "\n"


def tidied(document: dict[str, Any]) -> dict[str, Any]:
    """What the plugin made, with names that generators can use, and nothing in it that a linter calls an error."""
    paths: dict[str, dict[str, Any]] = {}
    for path, item in document["paths"].items():
        # Paths that differ in the names of variables alone are one path: `{name}` and `{queue.name}`.
        paths.setdefault(_OF_A_MESSAGE.sub(r"{\1}", path), {}).update(item)
    for operation in (each for item in paths.values() for each in item.values()):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                parameter["name"] = variable_name(parameter["name"])
    definitions = {schema_name(name): said for name, said in document["definitions"].items()}
    tidy: dict[str, Any] = _references({**document, "paths": paths, "definitions": definitions})
    return tidy


def _references(part: Any) -> Any:
    """The same, with references to the definitions as they are named here, and nothing beside a reference."""
    if isinstance(part, list):
        return [_references(each) for each in part]
    if not isinstance(part, dict):
        return part
    if isinstance(reference := part.get("$ref"), str):
        # The plugin says of the items of an array that they are objects, too.
        assert set(part) <= {"$ref", "type"}, part
        place, _, name = reference.rpartition("/")
        return {"$ref": f"{place}/{schema_name(name)}"}
    return {name: _references(each) for name, each in part.items()}


def sums() -> str:
    """The hashes of what is there now."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT)}\n" for path in _files()
    )


def stale() -> list[str]:
    """What is not as it was when the document was made, as lines for people."""
    recorded = SUMS.read_text().splitlines() if SUMS.exists() else []
    return sorted({line.partition("  ")[2] for line in {*recorded} ^ {*sums().splitlines()}})


def _files() -> list[Path]:
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    return [*protos, CONFIG, *programs.GO_PINS, DOCUMENT]
