"""A web application with its worker in one process: a request enqueues and is answered at once, one asks for the end.

    python embed_http.py

It makes both requests itself, and ends in the order that loses nothing: first no more requests, then the worker drains,
then the client closes. Any framework is used alike: docs/recipes has programs for FastAPI, Flask and Django.
"""

import asyncio
import json
import threading
import time
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jobqueue import JobContext, JobNotFound, SyncClient, Worker, define_kind

QUEUE = "example-embed-http"


@dataclass
class Report:
    of: str


report = define_kind("example_report", Report, output=str, queue=QUEUE)


async def do_report(payload: Report, ctx: JobContext) -> str:
    return f"report of {payload.of}"


class Requests(BaseHTTPRequestHandler):
    """POST /reports enqueues, GET /reports/ID says how the job stands."""

    client: SyncClient

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        # A client who asks twice gets one job: its own key would stand in a header.
        job = self.client.enqueue(
            report, Report(asked["of"]), idempotency_key=f"report {asked['of']} {asked['try']}"
        )
        self.answer(202, {"id": job.id})

    def do_GET(self) -> None:
        try:
            job = self.client.get(self.path.rpartition("/")[2])
        except JobNotFound:
            self.answer(404, {"error": "no such report"})
            return
        self.answer(200, {"status": job.status, "report": job.output})

    def answer(self, code: int, body: object) -> None:
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


def requests(address: str) -> None:
    """What a user's browser would do."""
    asked = json.dumps({"of": "May", "try": str(id(address))}).encode()
    with urllib.request.urlopen(f"http://{address}/reports", asked) as answer:
        print(answer.status)
        job_id = json.load(answer)["id"]
    while True:
        with urllib.request.urlopen(f"http://{address}/reports/{job_id}") as answer:
            found = json.load(answer)
        if found["status"] not in ("QUEUED", "RUNNING"):
            print(found["status"], found["report"])
            return
        time.sleep(0.05)


async def main() -> None:
    worker = Worker.from_env(queues=[QUEUE], sync_kinds=True)
    worker.handler(report)(do_report)
    with SyncClient.from_env() as client:
        await asyncio.to_thread(client.sync_kinds, [report])
        Requests.client = client
        http = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        listening = threading.Thread(target=http.serve_forever)
        listening.start()
        serving = asyncio.create_task(worker.serve())
        try:
            await asyncio.to_thread(requests, f"127.0.0.1:{http.server_port}")
        finally:
            await asyncio.to_thread(http.shutdown)
            http.server_close()
            worker.stop()
            await serving


if __name__ == "__main__":
    asyncio.run(main())
