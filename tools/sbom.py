"""What is in the images of server and worker: CycloneDX documents of the images' locks, with licences. `make sbom`.

python -m tools.sbom          writes server/sboms/ and worker/sboms/, which go into the wheels (PEP 770) and the images
python -m tools.sbom --check  whether they are up to date, and each licence is one that we know

Licences are those that the installed packages name. There is no time and no random number in a document: it is the same
until a lock changes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from tools.version import version

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("server", "worker")
VENDORED = "server/src/jobqueue_server/http/ui/vendor/vendor.toml"
#: What a serial number is made from, so that equal documents have the same one.
_OURS = UUID("5b2f3f0e-7f1d-4c5e-9d0b-6a7a5a3d2c11")

#: Where an image runs; what is wanted elsewhere alone is not in it.
_IMAGE = {
    "sys_platform": "linux",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}

#: What users may do with what we ship: nothing of these asks anything of their own code.
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0",
}  # fmt: skip
#: Of these, files that are changed have to be published. Nobody changes them: they are installed as they were made.
WEAK = {"LGPL-2.1-only", "MPL-2.0"}
#: How makers write it, by what it is called.
_SPELT = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "PSFL": "PSF-2.0",
}
#: Whose metadata say nothing, or not which one: read in their own files.
_READ = {
    "breadability": "BSD-2-Clause",
    "cronsim": "BSD-3-Clause",
    "markdown-it-py": "MIT",
    "mdurl": "MIT",
    "uvloop": "MIT OR Apache-2.0",
}


def main() -> int:
    """Writes or compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; end with 1 if something is wrong"
    )
    check = parser.parse_args().check
    wrong = []
    for package in PACKAGES:
        made = document(package)
        wrong += unknown(made)
        path, text = path_of(package), json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(f"{path.relative_to(ROOT)} is not what the locks say: run `make sbom`")
    print("\n".join(wrong) if wrong else f"the documents of {' and '.join(PACKAGES)} are up to date")
    return bool(wrong)


def path_of(package: str) -> Path:
    """Where the document of a package is."""
    return ROOT / package / "sboms" / f"jobqueue-{package}.cdx.json"


def document(package: str) -> dict[str, Any]:
    """What an image has of Python, and what the wheel brings of other makers."""
    locked = read_lock((ROOT / "deploy" / f"{package}.lock").read_text())
    name, own = f"jobqueue-{package}", version(ROOT)
    root = _component(name, own, "Apache-2.0", type="application")
    client = _component("jobqueue", own, "Apache-2.0")
    components = [client, *(_component(each, at, licence(each)) for each, (at, _) in locked.items())]
    refs = {each["name"]: each["bom-ref"] for each in (root, *components)}
    needs: dict[str, set[str]] = {ref: set() for ref in refs.values()}
    needs[root["bom-ref"]].add(client["bom-ref"])
    for each, (_, wanted_by) in locked.items():
        for other in wanted_by & refs.keys():
            needs[refs[other]].add(refs[each])
    # What the client needs is in the lock, which was made without its name.
    for each in ("googleapis-common-protos", "grpcio", "protobuf"):
        needs[client["bom-ref"]].add(refs[each])
    if package == "server":
        brought = vendored()
        components += brought
        needs[root["bom-ref"]] |= {each["bom-ref"] for each in brought}
        needs |= {each["bom-ref"]: set() for each in brought}
    body = {
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(needs.items())],
    }
    serial = uuid5(_OURS, json.dumps([root, body], sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"lifecycles": [{"phase": "build"}], "component": root},
        **body,
    }


def read_lock(text: str) -> dict[str, tuple[str, set[str]]]:
    """Each package of a lock, with its version and the packages that want it."""
    found = {}
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        pinned = re.match(r"([a-z0-9.-]+)==([^ ;\\\n]+)(?: ; (.+?))? \\\n", entry)
        if pinned is None or (pinned[3] and not Marker(pinned[3]).evaluate(_IMAGE)):
            continue
        via = re.findall(r"^ +#(?: via)? +([a-z0-9.-]+)", entry.partition("# via")[2], re.MULTILINE)
        via += re.findall(r"# via ([a-z0-9.-]+)", entry)
        found[pinned[1]] = (pinned[2], set(via))
    return found


def licence(name: str) -> str:
    """The licence of an installed package, as SPDX writes it."""
    if name in _READ:
        return _READ[name]
    said = metadata.metadata(name)
    text = next(
        (str(said[field]).strip() for field in ("License-Expression", "License") if field in said), ""
    )
    return _SPELT.get(text, text)


def unknown(made: dict[str, Any]) -> list[str]:
    """The components whose licence is none that we know to be fine for users."""
    return [
        f"{each['name']} {each['version']} has the licence {said!r}: tools/sbom.py says which are fine"
        for each in made["components"]
        if not set(re.split(r" (?:AND|OR) ", said := each["licenses"][0]["expression"])) <= PERMISSIVE | WEAK
    ]


def vendored() -> list[dict[str, Any]]:
    """What the server's wheel has in it of other makers."""
    listed = tomllib.loads((ROOT / VENDORED).read_text())["package"]
    swagger = metadata.distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist/VERSION")
    at = Path(str(swagger)).read_text().strip().removeprefix("v")
    ours = [(each["name"], each["version"], each["license"]) for each in listed]
    return [_component(*each, ecosystem="npm") for each in (*ours, ("swagger-ui-dist", at, "Apache-2.0"))]


def _component(
    name: str, at: str, said: str, *, type: str = "library", ecosystem: str = "pypi"
) -> dict[str, Any]:
    purl = f"pkg:{ecosystem}/{canonicalize_name(name) if ecosystem == 'pypi' else name}@{at}"
    return {
        "type": type,
        "bom-ref": purl,
        "name": name,
        "version": at,
        "licenses": [{"expression": said}],
        "purl": purl,
    }


if __name__ == "__main__":
    sys.exit(main())
