"""What each page of the dashboard asks of the server. `tests/ui/test_calls.py` holds it to the real pages."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of a page.

    Attributes:
        path: Below the root, such as `v1/queues`.
        query: As it stands in the address; `{since}` is a time.
        every: Seconds after an answer until it is asked again. None: it is asked once.
        stream: Whether it goes on until the page is closed.
    """

    path: str
    query: str = ""
    every: float | None = None
    stream: bool = False

    @property
    def target(self) -> str:
        """Of the request."""
        return f"/{self.path}{'?' if self.query else ''}{self.query}"


#: Rows of the list of jobs, and how many calls it makes at most until it has them.
ROWS, MOST_CALLS = 50, 4
#: What follows the rows in view that have not ended: its ids are those of the list.
FOLLOWED = "v1/jobs:watch"
LIST = "v1/jobs"
OVERVIEW = Ask("v1/overview:watch", stream=True)
#: Around every page.
FRAME = (Ask("v1/access", every=60), OVERVIEW)
_NAMES = (Ask("v1/queues", "page_size=1000"), Ask("v1/kinds", "page_size=1000"))


def overview(since: str = "") -> tuple[Ask, ...]:
    """What the first page asks; `since`: of a longer time than an hour."""
    return (*FRAME, Ask("v1/stats", f"since={quote(since)}" if since else "", every=10))


def jobs(filtered: str = "") -> tuple[Ask, ...]:
    """What the list of jobs asks. `filtered`: the query of ListJobs."""
    query = f"{filtered}{'&' if filtered else ''}page_size={ROWS}"
    return (*FRAME, *_NAMES, Ask(LIST, query, every=4))


def queues() -> tuple[Ask, ...]:
    """What the list of queues asks."""
    return (
        *FRAME,
        Ask("v1/queues", "page_size=1000", every=5),
        Ask("v1/stats", "group_by=GROUP_BY_QUEUE&step=60s", every=10),
    )


def queue(name: str) -> tuple[Ask, ...]:
    """What a queue without limits asks."""
    return (
        *FRAME,
        Ask(f"v1/queues/{name}", every=3),
        Ask("v1/stats", f"queue={name}", every=10),
        Ask("v1/stats", f"queue={name}&group_by=GROUP_BY_KIND", every=10),
        Ask(f"v1/queues/{name}:demand", every=10),
    )


def kinds() -> tuple[Ask, ...]:
    """What the list of kinds asks."""
    return (
        *FRAME,
        Ask("v1/kinds", "page_size=1000", every=15),
        Ask("v1/stats", "group_by=GROUP_BY_KIND", every=10),
    )


def job(id: str, *, ended: bool) -> tuple[Ask, ...]:
    """What a job that does not run asks."""
    waits = () if ended else (Ask(f"v1/jobs/{id}:explain", every=3), Ask(FOLLOWED, f"ids={id}", stream=True))
    return (*FRAME, Ask(f"v1/jobs/{id}"), *waits)


def dead() -> tuple[Ask, ...]:
    """What the page of failed jobs asks: up to five such pages, one after the other."""
    return (*FRAME, Ask(LIST, "status=FAILED_PERMANENT&view=JOB_VIEW_FULL&page_size=200"))


def others() -> dict[str, tuple[Ask, ...]]:
    """The pages of which no list grows with the jobs, by their place below /ui/."""
    return {
        "workers": (*FRAME, Ask("v1/workers", "page_size=500", every=2)),
        "schedules": (*FRAME, Ask("v1/schedules", "page_size=500", every=5)),
        "operations": (*FRAME, Ask("v1/operations", "page_size=50", every=2)),
        "servers": (*FRAME, Ask("v1/servers", every=2)),
        "audit": (*FRAME, Ask("v1/audit", "page_size=100")),
        "settings": (*FRAME, Ask("version")),
    }
