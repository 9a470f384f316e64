"""Files of other makers that the dashboard has, as they are published: `http/ui/vendor/vendor.toml` lists them.

python -m tools.vendor check   compare them with the registry's packages
python -m tools.vendor update  take them anew, after a version there was changed

Both need npm and its registry; no test runs them. What a package is, its integrity says: the hash that npm has of it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "server/src/jobqueue_server/http/ui/vendor"
LIST = FOLDER / "vendor.toml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("check", "update"))
    update = parser.parse_args().what == "update"
    wrong = []
    for package in tomllib.loads(LIST.read_text())["package"]:
        whole = packed(package["name"], package["version"])
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(whole).digest()).decode()
        if update:
            replace(package["integrity"], integrity, package["version"], "integrity")
        elif integrity != package["integrity"]:
            wrong.append(f"{package['name']} {package['version']} is another package: {integrity}")
        wrong += list(files(package, whole, update))
    if wrong:
        sys.exit("\n".join(wrong))
    print("the files are those of the registry")


def packed(name: str, version: str) -> bytes:
    """A package as the registry has it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{name}@{version}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (found,) = Path(folder).iterdir()
        return found.read_bytes()


def files(package: dict[str, Any], whole: bytes, update: bool) -> Any:
    """Compares or writes the files of a package; what is wrong with them."""
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        for file in package["file"]:
            member = archive.extractfile(f"package/{file['path']}")
            assert member is not None
            body = member.read()
            target = FOLDER / file["name"]
            if update:
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(body)
                replace(file["sha256"], hashlib.sha256(body).hexdigest(), file["name"], "sha256")
            elif body != target.read_bytes():
                yield f"{file['name']} is not {file['path']} of {package['name']} {package['version']}"


def replace(old: str, new: str, after: str, field: str) -> None:
    """Writes a value into the list, in the first line of this field behind the one that has `after`."""
    text = LIST.read_text()
    at = text.index(f'"{after}"')
    line = re.compile(rf'^{field} = "{re.escape(old)}"$', re.MULTILINE).search(text, at)
    assert line is not None
    LIST.write_text(f'{text[: line.start()]}{field} = "{new}"{text[line.end() :]}')


if __name__ == "__main__":
    main()
