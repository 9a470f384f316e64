"""Who may call an operation: the scheme of keys, and the permissions that the method declares."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from jobqueue.v1 import access_pb2
from jobqueue_server.gate import declared_access

Schema = dict[str, Any]

#: Under what an operation lists its permissions, of which one is enough.
PERMISSIONS_OF = "x-permissions"

SCHEMES: dict[str, Schema] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "A key, `jq_...`, where the server asks for one (JOBQUEUE_AUTH). Each operation lists in "
            f"`{PERMISSIONS_OF}` the permissions of which one is enough."
        ),
    }
}
#: The second one is for servers that ask nobody.
REQUIREMENTS: list[Schema] = [{"key": []}, {}]


def permissions(method: MethodDescriptor) -> list[str]:
    """The names of the permissions of which a caller needs one."""
    return [access_pb2.Access.Permission.Name(each) for each in declared_access(method).any_of]


def told(method: MethodDescriptor) -> str:
    """The same as a sentence."""
    return f"Permission: {' or '.join(permissions(method))}."
