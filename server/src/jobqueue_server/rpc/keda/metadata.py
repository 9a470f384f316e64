"""What the trigger of a ScaledObject says, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...core.insight.scaling import Target
from .. import checks
from ..checks import Problems

DEFAULT_SLOTS_PER_REPLICA = 10
MOST_SLOTS_PER_REPLICA = 1_000_000
MOST_NAMES = 100

_OURS = ("queue", "queues", "kinds", "slotsPerReplica", "activationSlots")
# How KEDA is to reach the server: it passes these on, and they tell the server nothing.
_KEDAS = frozenset({"scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsClientCert", "tlsClientKey"})


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a trigger scales, and by how much: one replica of the workers has so many slots."""

    target: Target
    slots_per_replica: int


def trigger(metadata: Mapping[str, str], at: str, problems: Problems) -> Trigger:
    """What a trigger's metadata says. A value that KEDA took from the workers' environment has a name in `FromEnv`.

    Args:
        metadata: By name.
        at: Its path in the request with a dot at the end.
        problems: Gets what is wrong.
    """
    given = {name.removesuffix("FromEnv"): value.strip() for name, value in metadata.items()}
    for name in sorted(given.keys() - _KEDAS - {*_OURS}):
        problems.add(f"{at}{name}", f"is not known here; known are {', '.join(_OURS)}")
    if ("queue" in given) == ("queues" in given):
        problems.add(
            f"{at}queue", "must be there, or `queues` with several names, such as mail,reports; not both"
        )
    which = "queues" if "queues" in given else "queue"
    queues = _names(given, which, at, problems, "default")
    kinds = _names(given, "kinds", at, problems, "send_email")
    return Trigger(
        Target(
            queues,
            frozenset(kinds),
            _number(given, "activationSlots", 0, (0, MOST_SLOTS_PER_REPLICA), at, problems),
        ),
        _number(
            given, "slotsPerReplica", DEFAULT_SLOTS_PER_REPLICA, (1, MOST_SLOTS_PER_REPLICA), at, problems
        ),
    )


def _names(given: Mapping[str, str], name: str, at: str, problems: Problems, such_as: str) -> tuple[str, ...]:
    """The names that a value holds; `queue` holds one."""
    if name not in given:
        return ()
    parts = [given[name]] if name == "queue" else given[name].split(",")
    names = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not names:
        problems.add(f"{at}{name}", f"names none; one is {such_as}, for example")
    if len(names) > MOST_NAMES:
        problems.add(f"{at}{name}", f"has {len(names)} names; at most {MOST_NAMES} are allowed")
        return ()
    for each in names:
        checks.name(each, f"{at}{name}", problems, such_as)
    return names


def _number(
    given: Mapping[str, str], name: str, default: int, bounds: tuple[int, int], at: str, problems: Problems
) -> int:
    text = given.get(name)
    if text is None:
        return default
    least, most = bounds
    # Of ASCII: int() would read other digits, signs and underscores too.
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    problems.add(f"{at}{name}", f"must be a whole number from {least} to {most}, such as {default or 1}")
    return default
