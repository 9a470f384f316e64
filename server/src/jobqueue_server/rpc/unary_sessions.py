"""The methods for unary sessions: workers without a stream, such as a shell script with curl."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.v1 import lease_pb2

from ..chain import Call
from ..core.attempt.outcome import Answer, Outcome
from ..core.catalog.undeclared import Undeclared
from ..core.lease.lease import Named
from ..core.session.unary import UnarySessionOptions, UnarySessions
from ..core.upkeep.clock import Clock
from ..model import DEFAULT_WAIT, MAX_BATCH_JOBS, MAX_MESSAGE_BYTES, MAX_SETTLE_OUTCOMES
from ..store.session.sessions import Told
from . import checks, convert, hello
from .checks import Problems
from .leased import leased_job
from .outcomes import read_outcome, result_message
from .welcome import welcome

# A wait ends this long before the caller's deadline, so that the answer arrives in time.
_ANSWERING = timedelta(milliseconds=250)
MAX_TOKEN_CHARS = 256


class UnarySessionServicer:
    """Opens a session, claims and settles its jobs, keeps it alive and closes it. Each is one call."""

    def __init__(
        self,
        calls: UnarySessions,
        undeclared: Undeclared,
        clock: Clock,
        *,
        default_ttl: timedelta,
        server_name: str,
    ) -> None:
        self._calls = calls
        self._undeclared = undeclared
        self._clock = clock
        self._default_ttl = default_ttl
        self._server_name = server_name

    async def OpenSession(
        self, request: lease_pb2.OpenSessionRequest, call: Call
    ) -> lease_pb2.OpenSessionResponse:
        """Opens a session, or resumes one."""
        opening = hello.checked_hello(request.hello)
        capacity = request.hello.capacity
        options = UnarySessionOptions(
            opening.subscriptions,
            capacity.slots,
            dict(capacity.slots_by_kind),
            capacity.bytes,
            opening.as_value,
        )
        told = Told(opening.worker, opening.labels, opening.client, call.address)
        undeclared = await self._undeclared.among(call.scope, opening.kinds)
        if opening.token is None:
            ttl = opening.ttl or self._default_ttl
            opened = await self._calls.open(call.scope, told, ttl, options)
        else:
            opened = await self._calls.resume(
                call.scope, told, opening.token, opening.held, opening.unanswered, options
            )
        return lease_pb2.OpenSessionResponse(welcome=welcome(opened, undeclared, self._server_name))

    async def ClaimJobs(self, request: lease_pb2.ClaimJobsRequest, call: Call) -> lease_pb2.ClaimJobsResponse:
        """Claims jobs. Waits for the first one, at most until the caller's deadline is near."""
        problems = Problems()
        if not 0 <= request.max_jobs <= MAX_BATCH_JOBS:
            problems.add("max_jobs", f"must be 1 to {MAX_BATCH_JOBS}, or 0 for 1")
        if request.HasField("wait"):
            checks.wait(request.wait, "wait", problems)
        held = _held(request, problems)
        _token(request.session_token, problems)
        wait = convert.span(request.wait) if request.HasField("wait") else DEFAULT_WAIT
        remaining = call.remaining()
        if remaining is not None:
            wait = min(wait, timedelta(seconds=remaining) - _ANSWERING)
        leases, as_value = await self._calls.claim(
            call.scope, request.session_token, request.max_jobs or 1, max(wait, timedelta()), held
        )
        response = lease_pb2.ClaimJobsResponse(
            jobs=[leased_job(lease, as_value=as_value) for lease in leases]
        )
        if as_value and response.ByteSize() > MAX_MESSAGE_BYTES:
            # The jobs have at most 3 MiB of text, but the Values may be larger.
            response = lease_pb2.ClaimJobsResponse(
                jobs=[leased_job(lease, as_value=False) for lease in leases]
            )
        for job in response.jobs:
            # Lease ids are for streams. Unary calls name leases by job and attempt.
            job.lease_id = 0
        return response

    async def SettleJobs(
        self, request: lease_pb2.SettleJobsRequest, call: Call
    ) -> lease_pb2.SettleJobsResponse:
        """Reports outcomes. Each is judged alone."""
        problems = Problems()
        if not 1 <= len(request.outcomes) <= MAX_SETTLE_OUTCOMES:
            problems.add(
                "outcomes", f"must be 1 to {MAX_SETTLE_OUTCOMES} outcomes, not {len(request.outcomes)}"
            )
        _token(request.session_token, problems)
        answers: list[Answer | None] = []
        outcomes: list[Outcome] = []
        for message in request.outcomes:
            outcome, refused = self._read(message)
            answers.append(refused)
            if outcome is not None:
                outcomes.append(outcome)
        settled = iter(await self._calls.settle(call.scope, request.session_token, outcomes))
        results = [result_message(answer or next(settled)) for answer in answers]
        for result in results:
            result.lease_id = 0
        return lease_pb2.SettleJobsResponse(results=results)

    def _read(self, message: lease_pb2.Outcome) -> tuple[Outcome | None, Answer | None]:
        if not message.job_id:
            said = "job_id and attempt are required: in a unary call they name the lease"
            return None, Answer(0, None, message.attempt, "INVALID", message=said)
        outcome, refused = read_outcome(message, self._clock)
        if outcome is not None:
            outcome.names_lease(0)
        return outcome, refused

    async def HeartbeatSession(
        self, request: lease_pb2.HeartbeatSessionRequest, call: Call
    ) -> lease_pb2.HeartbeatSessionResponse:
        """Keeps a session alive. Answers the leases to cancel and to give up."""
        problems = Problems()
        held = _held(request, problems)
        _token(request.session_token, problems)
        cancelling, revoked = await self._calls.heartbeat(call.scope, request.session_token, held)
        response = lease_pb2.HeartbeatSessionResponse()
        for one in cancelling:
            cancel = response.controls.add().cancel
            cancel.leases.append(hello.held_lease(one.lease))
            cancel.reason = one.asked.reason
            convert.set_span(cancel.grace, one.asked.grace)
        if revoked:
            revoke = response.controls.add().revoke
            revoke.reason = "LEASE_UNKNOWN"
            revoke.leases.extend(hello.held_lease(lease) for lease in revoked)
        return response

    async def CloseSession(
        self, request: lease_pb2.CloseSessionRequest, call: Call
    ) -> lease_pb2.CloseSessionResponse:
        """Ends a session, and gives back its leases."""
        _token(request.session_token, Problems())
        released = await self._calls.close(call.scope, request.session_token)
        return lease_pb2.CloseSessionResponse(released=[hello.held_lease(lease) for lease in released])


def _token(token: str, problems: Problems) -> None:
    """Checks the token, and raises for all problems that were found."""
    if not token:
        problems.add("session_token", "is required: the token that OpenSession answered")
    checks.text(token, "session_token", MAX_TOKEN_CHARS, problems)
    problems.raise_if_any()


def _held(
    request: lease_pb2.ClaimJobsRequest | lease_pb2.HeartbeatSessionRequest, problems: Problems
) -> list[Named] | None:
    return hello.named(request.held.leases, "held.leases", problems) if request.HasField("held") else None
