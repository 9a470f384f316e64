"""What the tests of the contract look at: the .proto files as freshly compiled, comments and all."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tools import bindings, generate


@pytest.fixture(scope="session", autouse=True)
def googleapis() -> None:
    """buf finds google/api/*.proto without network."""
    generate.lay_out_googleapis()


@pytest.fixture(scope="session")
def files(googleapis: None) -> list[FileDescriptorProto]:
    """The descriptors of the files in `proto/`."""
    return bindings.contract()
