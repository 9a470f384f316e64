"""Flask under gunicorn: requests enqueue jobs by the SyncClient of their process; the worker is a program of its own.

    gunicorn --workers 4 flask_app:app          the app
    python flask_app.py                         the worker

JOBQUEUE_SERVER and JOBQUEUE_TOKEN say where the server is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue

from jobqueue import (
    IdempotencyKeyReused,
    JobContext,
    JobNotFound,
    Middleware,
    Overloaded,
    PayloadInvalid,
    SyncClient,
    Unavailable,
    Worker,
    define_kind,
)


@dataclass
class Order:
    """The payload of a job."""

    number: int
    email: str


send_receipt = define_kind("send-receipt", Order, output=str, max_attempts=5)

app = Flask("shop")
# It connects at its first call, and that is in a request: so it is each gunicorn worker's own, also with --preload.
jobs = SyncClient.from_env()


@app.post("/orders")
def place() -> ResponseReturnValue:
    """Answers when the job is committed. The same Idempotency-Key again is the same job."""
    order = Order(**request.get_json())
    job = jobs.enqueue(send_receipt, order, idempotency_key=request.headers.get("Idempotency-Key"))
    return {"job": job.id}, 202


@app.get("/orders/<uuid:job_id>")
def look(job_id: UUID) -> ResponseReturnValue:
    """How far it is."""
    job = jobs.get(str(job_id))
    if job.kind != send_receipt.name:  # any job of the namespace has an id
        return {"detail": "no such job"}, 404
    return {"status": job.status.name, "receipt": job.output}


@app.errorhandler(Unavailable)
@app.errorhandler(Overloaded)
def later(error: Exception) -> ResponseReturnValue:
    """No server answers, or it takes no more for now: the caller may try again."""
    return {"detail": "try again"}, 503, {"Retry-After": "1"}


@app.errorhandler(TypeError)
@app.errorhandler(PayloadInvalid)
def wrong(error: Exception) -> ResponseReturnValue:
    """The body is no order."""
    return {"detail": str(error)}, 422


@app.errorhandler(IdempotencyKeyReused)
def reused(error: Exception) -> ResponseReturnValue:
    """The key stands for another order."""
    return {"detail": "this Idempotency-Key came with another order"}, 409


@app.errorhandler(JobNotFound)
def unknown(error: Exception) -> ResponseReturnValue:
    """There is no such job, or no longer."""
    return {"detail": "no such job"}, 404


class InAppContext(Middleware):
    """Each attempt has the context of the app, and its end runs `teardown_appcontext`: sessions are closed there."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        """Goes around each handler."""
        with app.app_context():
            yield


worker = Worker.from_env(sync_kinds=True, middleware=[InAppContext()])


@worker.handler(send_receipt)
def deliver(order: Order, ctx: JobContext) -> str:
    """Runs in a thread, as a request would."""
    return f"order {order.number} for {order.email} by {current_app.name}"


if __name__ == "__main__":
    worker.run()
