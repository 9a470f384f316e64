"""The document of OpenAPI 2: made by protoc-gen-openapiv2 where that is installed, held by hashes everywhere."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tools.generate import lay_out_googleapis, run

from . import programs
from .programs import ROOT

DOCUMENT = ROOT / "server/src/jobqueue_server/http/openapi/jobqueue.swagger.json"
CONFIG = ROOT / "proto/openapi.yaml"
#: What the document was made from, and itself; in the form of sha256sum.
SUMS = ROOT / "proto/openapi.sum"

_OPTIONS = (
    "allow_merge=true",
    "merge_file_name=jobqueue",
    "json_names_for_fields=false",
    "simple_operation_ids=true",
    "openapi_naming_strategy=simple",
    "disable_default_responses=true",
    "preserve_rpc_order=true",
    f"openapi_configuration={CONFIG.relative_to(ROOT)}",
)


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
        return (Path(folder) / DOCUMENT.name).read_text()


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
