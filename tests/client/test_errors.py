"""What a failed call becomes in the client."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from jobqueue.errors import IdentityElsewhere, IdentityNotFound, JobQueueError, Unavailable, from_rpc

pytestmark = pytest.mark.unit


def cancelled(details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details
    )


def test_a_call_that_a_server_cut_off_as_it_left_is_unavailable() -> None:
    error = from_rpc(cancelled("CANCELLED"))
    assert isinstance(error, Unavailable)
    assert error.code == "UNAVAILABLE"


@pytest.mark.parametrize("details", ["Locally cancelled by application!", ""])
def test_a_caller_s_own_cancelling_is_not(details: str) -> None:
    error = from_rpc(cancelled(details))
    assert not isinstance(error, Unavailable)
    assert error.code == "CANCELLED"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("UNAVAILABLE", "ISSUER_AWAY", Unavailable),
        ("NOT_FOUND", "IDENTITY_NOT_FOUND", IdentityNotFound),
        ("ALREADY_EXISTS", "IDENTITY_ELSEWHERE", IdentityElsewhere),
    ],
)
def test_what_identities_are_refused_for_has_its_class(
    code: str, reason: str, expected: type[JobQueueError]
) -> None:
    status = Status(message="no")
    status.details.add().Pack(ErrorInfo(reason=reason, domain="jobqueue"))
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    error = from_rpc(grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), trailers, details="no"))
    assert type(error) is expected
    assert error.reason == reason
