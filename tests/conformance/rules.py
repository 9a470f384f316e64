"""What holds for every frame in every case, whatever the case is about."""

from __future__ import annotations

RULES = {
    "first-frame": "The first frame of a stream is Hello, and no later one is.",
    "hello": (
        "Hello names the worker in 1..128 characters, 1..1000 subscriptions with one kind or more each, and its slots."
    ),
    "receipt": (
        "`last_delivery` stands in every frame, never goes down on a stream, and never names a delivery that was not "
        "sent. The third heartbeat after a delivery says at the latest that it was seen; the case `receipt-bare` "
        "measures the 20 ms."
    ),
    "heartbeat": (
        "Heartbeats count up from 1 on each stream, and name every lease that the worker has seen and not settled, and "
        "none that is not of its session."
    ),
    "settle": (
        "Settle frames count up from 1 on each stream, hold 1..1000 outcomes, each set, and name each lease once, "
        "all of this session."
    ),
    "settle-once": (
        "An outcome is not sent again on the stream on which it was sent, unless it was answered TRY_AGAIN or INVALID, "
        "and never after it was answered."
    ),
    "revoked": "A lease that was revoked is not settled, not even by an outcome that was waiting.",
    "resume": (
        "Resume names the newest token that was seen, the last delivery that was seen, and every lease that was seen "
        "and is not answered: in `held` or, if it was settled, in `unanswered`; by all three numbers, and each once."
    ),
    "capacity": "Capacity is 0..10000, within the slots that the worker was told to have, and never more than these.",
    "progress": "Progress names a lease of this session that is not settled, and a fraction within 0..1.",
    "slots": "No more handlers run than the worker has slots.",
    "handlers": "A lease starts one handler, once.",
}
