"""Generates the TypeScript client's stubs, `clients/typescript/src/gen`, from `proto/`. Needs Node and buf.

    python -m tools.typescript_stubs          write them
    python -m tools.typescript_stubs --check  write nothing; fail if something would change

The plugin is that of `clients/typescript/package-lock.json`. Where it is not installed both say so and do nothing:
whoever changes a .proto file needs it, nobody else does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from tools.generate import PROTO, ROOT, lay_out_googleapis, run

CLIENT = ROOT / "clients" / "typescript"
STUBS = CLIENT / "src" / "gen"
PLUGIN = CLIENT / "node_modules" / ".bin" / "protoc-gen-es"
# What the details of errors are made of; nothing in proto/ imports it.
DETAILS = "google/rpc/error_details.proto"


def stubs() -> dict[Path, str]:
    """The stubs by their paths in their folder."""
    lay_out_googleapis()
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as details:
        (Path(details) / DETAILS).parent.mkdir(parents=True)
        wheel = metadata.distribution("googleapis-common-protos")
        (Path(details) / DETAILS).write_bytes(Path(str(wheel.locate_file(DETAILS))).read_bytes())
        template = {
            "version": "v2",
            "inputs": [{"directory": str(PROTO)}, {"directory": details}],
            "plugins": [
                {
                    "local": str(PLUGIN),
                    "out": made,
                    "opt": ["target=ts", "import_extension=js"],
                    "include_imports": True,
                }
            ],
        }
        run(Path(sys.executable).parent / "buf", "generate", "--template", json.dumps(template))
        return read(Path(made))


def read(folder: Path) -> dict[Path, str]:
    """All files of a folder, by their paths in it."""
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.ts")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    arguments = parser.parse_args()
    if shutil.which("node") is None or not PLUGIN.exists():
        say = "typescript_stubs: no Node, or no protoc-gen-es (`make clients` installs it): stubs are left as they are"
        print(say, file=sys.stderr)
        return
    wanted, present = stubs(), read(STUBS)
    if present == wanted:
        return
    if arguments.check:
        changed = sorted(str(path) for path in present | wanted if present.get(path) != wanted.get(path))
        sys.exit(f"typescript_stubs: {', '.join(changed)} is not what proto/ makes: run `make generate`")
    shutil.rmtree(STUBS, ignore_errors=True)
    for path, text in wanted.items():
        (STUBS / path).parent.mkdir(parents=True, exist_ok=True)
        (STUBS / path).write_text(text)


if __name__ == "__main__":
    main()
