"""What a failed call becomes in the client."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from jobqueue.errors import Unavailable, from_rpc

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
