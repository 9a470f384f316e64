"""Keeps `proto/bindings.txt`: one row for each HTTP binding, so that a change of one is seen and not made in passing.

    python tools/bindings.py          add the rows of new bindings; fail if a row was changed or removed
    python tools/bindings.py --check  write nothing; fail if the file is not what the descriptors say
    python tools/bindings.py --renew  start anew, and renew proto/baseline.binpb: a break of the contract,
                                      which needs a line under Contract in the CHANGELOG

`buf breaking` does not look at HTTP paths; this does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent
BINDINGS = ROOT / "proto" / "bindings.txt"
BASELINE = ROOT / "proto" / "baseline.binpb"
HEADER = "# RPC\tmethod\tpath\tbody\tresponse_body\n"


def buf(*arguments: str) -> bytes:
    """What buf answers; it is installed beside the Python that runs this."""
    program = Path(sys.executable).parent / "buf"
    return subprocess.run([program, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def contract() -> list[descriptor_pb2.FileDescriptorProto]:
    """The descriptors of our own files, with comments, freshly compiled."""
    image = descriptor_pb2.FileDescriptorSet.FromString(buf("build", "proto", "-o", "-#format=binpb"))
    return [file for file in image.file if file.package.startswith("jobqueue.")]


def rules(method: descriptor_pb2.MethodDescriptorProto) -> Iterator[http_pb2.HttpRule]:
    """A method's bindings, the main one first."""
    if method.options.HasExtension(annotations_pb2.http):
        rule = method.options.Extensions[annotations_pb2.http]
        yield rule
        yield from rule.additional_bindings


def rows() -> list[str]:
    """The rows that the descriptors make, in the order of the files."""
    found = []
    for file in contract():
        for service in file.service:
            for method in service.method:
                for rule in rules(method):
                    verb = rule.WhichOneof("pattern")
                    path = rule.custom.path if verb == "custom" else getattr(rule, verb)
                    verb = rule.custom.kind if verb == "custom" else verb.upper()
                    name = f"{file.package}.{service.name}.{method.name}"
                    found.append("\t".join((name, verb, path, rule.body, rule.response_body)))
    return found


def recorded() -> list[str]:
    """The rows of the file."""
    lines = BINDINGS.read_text().splitlines() if BINDINGS.exists() else []
    return [line for line in lines if not line.startswith("#")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail if the file is not current")
    mode.add_argument("--renew", action="store_true", help="renew both files: breaks the contract")
    arguments = parser.parse_args()

    wanted, present = rows(), recorded()
    lost = [row for row in present if row not in wanted]
    if lost and not arguments.renew:
        print("These rows of proto/bindings.txt were changed or removed:", *lost, sep="\n  ")
        sys.exit("bindings: take it back, or run `tools/bindings.py --renew` and say so in the CHANGELOG")
    if arguments.check:
        if present != wanted:
            sys.exit("bindings: proto/bindings.txt lacks rows, or has another order: run `make generate`")
        return
    BINDINGS.write_text(HEADER + "".join(f"{row}\n" for row in wanted))
    if arguments.renew:
        buf("build", "proto", "--exclude-source-info", "-o", str(BASELINE.relative_to(ROOT)))


if __name__ == "__main__":
    main()
