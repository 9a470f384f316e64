"""The messages of testing.proto, as Python classes, and its descriptors, of which other languages make theirs.

python -m tests.interop.messages FILE    writes a FileDescriptorSet
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

HERE = Path(__file__).parent
PROTO = "testing.proto"
PACKAGE = "grpc.testing"


def descriptors() -> bytes:
    """A FileDescriptorSet of testing.proto.

    Raises:
        ValueError: testing.proto can't be compiled; protoc has printed why.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "testing.binpb"
        if protoc.main(["protoc", f"--proto_path={HERE}", f"--descriptor_set_out={out}", PROTO]):
            raise ValueError(f"{HERE / PROTO} can't be compiled")
        return out.read_bytes()


def _classes() -> dict[str, Any]:
    # A pool of its own: grpcio may bring these names itself.
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors()).file:
        pool.AddSerializedFile(file.SerializeToString())
    found = message_factory.GetMessageClassesForFiles([PROTO], pool)
    return {name.removeprefix(f"{PACKAGE}."): made for name, made in found.items()}


_made = _classes()
Empty = _made["Empty"]
EchoStatus = _made["EchoStatus"]
Payload = _made["Payload"]
ResponseParameters = _made["ResponseParameters"]
SimpleRequest = _made["SimpleRequest"]
SimpleResponse = _made["SimpleResponse"]
StreamingInputCallRequest = _made["StreamingInputCallRequest"]
StreamingInputCallResponse = _made["StreamingInputCallResponse"]
StreamingOutputCallRequest = _made["StreamingOutputCallRequest"]
StreamingOutputCallResponse = _made["StreamingOutputCallResponse"]


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(descriptors())
