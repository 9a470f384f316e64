"""The gates, in the order of the table: what each runs, and what it must reach."""

from __future__ import annotations

from .auth import Auth
from .backlog import Backlog
from .bulk import Bulk
from .costs import Costs
from .explain import Explained
from .gate import Found, Gate, Part
from .handlers import HandlerCosts
from .idle import IdleStreams
from .keys import Keys, Raised
from .kits import Kits
from .labels import Labels
from .latency import StartLatency
from .locked_key import LockedKey
from .mixed import Mixed
from .others import Others
from .outrun import Outrun
from .overload import Overload
from .round import JOBQUEUE, PeerRun, Round
from .schedules import Schedules
from .servers import Servers
from .snapshot import HeldSnapshot
from .soak import Soak
from .throughput import Drain, HandOff, ManyStreams, Rest, Unary
from .totals import Totals
from .ui import Dashboard
from .ui_size import FullSize
from .unique import UniqueNames

_ALL: tuple[Gate, ...] = (
    HandOff(),
    Rest(),
    Unary(),
    Drain(),
    ManyStreams(),
    StartLatency(),
    Costs(),
    HeldSnapshot(),
    Servers(),
    IdleStreams(),
    Soak(),
    Backlog(),
    Outrun(),
    Others(),
    Mixed(),
    Overload(),
    Auth(),
    Labels(),
    Keys(),
    Raised(),
    LockedKey(),
    Totals(),
    UniqueNames(),
    Schedules(),
    Explained(),
    Dashboard(),
    FullSize(),
    Bulk(),
    HandlerCosts(),
    Kits(),
)
GATES: dict[str, Gate] = {gate.name: gate for gate in _ALL}

__all__ = ["GATES", "JOBQUEUE", "Found", "Gate", "Part", "PeerRun", "Round"]
