"""FastAPI: requests enqueue typed jobs; a worker runs them in the app's loop, or as a process of its own.

    uvicorn fastapi_app:app                     the app; with WORKER_IN_APP=1 it runs jobs as well
    python fastapi_app.py                       the worker as a process of its own

JOBQUEUE_SERVER and JOBQUEUE_TOKEN say where the server is. One model of pydantic is the body of the request and the
payload of the job.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from jobqueue import (
    Client,
    IdempotencyKeyReused,
    JobContext,
    JobNotFound,
    Overloaded,
    Unavailable,
    Worker,
    define_kind,
)


class Order(BaseModel):
    """The body of a request, and the payload of its job."""

    number: int = Field(ge=1)
    email: str


class Receipt(BaseModel):
    """The output of that job."""

    text: str


send_receipt = define_kind("send-receipt", Order, output=Receipt, max_attempts=5)
worker = Worker.from_env(sync_kinds=True)


@worker.handler(send_receipt)
async def deliver(order: Order, ctx: JobContext) -> Receipt:
    """Runs on the worker's loop, so it awaits what takes time."""
    return Receipt(text=f"order {order.number} for {order.email}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the process. The worker leaves before the client closes: its last handlers may still enqueue."""
    async with Client.from_env() as client:
        app.state.jobs = client
        serving = asyncio.create_task(worker.serve()) if os.environ.get("WORKER_IN_APP") else None
        try:
            yield
        finally:
            if serving is not None:
                worker.stop(reason="the app ends")
                await serving


app = FastAPI(lifespan=lifespan)


def client_of(request: Request) -> Client:
    """The client of this process; tests put another one in its place by `app.dependency_overrides`."""
    client: Client = request.app.state.jobs
    return client


Jobs = Annotated[Client, Depends(client_of)]


@app.post("/orders", status_code=202)
async def place(
    order: Order, jobs: Jobs, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, str]:
    """Answers when the job is committed. The same Idempotency-Key again is the same job."""
    job = await jobs.enqueue(send_receipt, order, idempotency_key=idempotency_key)
    return {"job": job.id}


@app.get("/orders/{job_id}")
async def look(job_id: UUID, jobs: Jobs) -> dict[str, Any]:
    """How far it is."""
    job = await jobs.get(str(job_id))
    if job.kind != send_receipt.name:  # any job of the namespace has an id
        raise HTTPException(404, "no such job")
    return {"status": job.status.name, "receipt": job.output}


@app.exception_handler(Unavailable)
@app.exception_handler(Overloaded)
async def later(request: Request, error: Exception) -> JSONResponse:
    """No server answers, or it takes no more for now: the caller may try again."""
    return JSONResponse({"detail": "try again"}, 503, headers={"Retry-After": "1"})


@app.exception_handler(IdempotencyKeyReused)
async def reused(request: Request, error: Exception) -> JSONResponse:
    """The key stands for another order."""
    return JSONResponse({"detail": "this Idempotency-Key came with another order"}, 409)


@app.exception_handler(JobNotFound)
async def unknown(request: Request, error: Exception) -> JSONResponse:
    """There is no such job, or no longer."""
    return JSONResponse({"detail": "no such job"}, 404)


if __name__ == "__main__":
    worker.run()
