"""The cases, as gRPC's interop test descriptions name them."""

from __future__ import annotations

CASES = {
    "empty_unary": "A call of no bytes is answered with no bytes.",
    "large_unary": "271,828 bytes go, 314,159 come.",
    "client_streaming": "Four messages go, one answer comes.",
    "server_streaming": "One message goes, four answers come.",
    "ping_pong": "Four messages and answers in turns on one stream.",
    "empty_stream": "A stream without messages ends well.",
    "custom_metadata": "Metadata, text and binary, comes back before and behind the answers.",
    "status_code_and_message": "The status and its message arrive.",
    "special_status_message": "A message with line ends, tabs and characters beyond ASCII arrives.",
    "unimplemented_method": "An unknown method is UNIMPLEMENTED.",
    "unimplemented_service": "An unknown service is UNIMPLEMENTED.",
    "cancel_after_begin": "A call is cancelled before its first message.",
    "cancel_after_first_response": "A stream is cancelled after an answer.",
    "timeout_on_sleeping_server": "A deadline of 1 ms ends a stream.",
    "client_compressed_unary": "The server sees which requests are compressed, and reads both.",
    "server_compressed_unary": "Answers are compressed as the request asks.",
    "client_compressed_streaming": "The same for each message that goes on a stream.",
    "server_compressed_streaming": "The same for each message that comes on a stream.",
    "rpc_soak": "large_unary again and again on one connection.",
    "channel_soak": "large_unary again and again, each on a new connection.",
}
# Those that are run over TLS as well.
OVER_TLS = (
    "empty_unary",
    "large_unary",
    "ping_pong",
    "custom_metadata",
    "status_code_and_message",
    "channel_soak",
)

_UNSEEN = "grpc.aio does not tell a handler whether a message came compressed"
# By engine, the cases that no client can do on it.
WITHOUT: dict[str, dict[str, str]] = {
    "http2": {},
    "grpcio": {"client_compressed_unary": _UNSEEN, "client_compressed_streaming": _UNSEEN},
}


def rows() -> list[tuple[str, bool]]:
    """Each case, and whether over TLS, in the order of the table."""
    return [(case, False) for case in CASES] + [(case, True) for case in OVER_TLS]
