"""One servicer out of several."""

from __future__ import annotations


class ServicerUnion:
    """One servicer out of several, each with its own methods; one that was asked for is found at once after that."""

    def __init__(self, *servicers: object) -> None:
        self._servicers = servicers

    def __getattr__(self, name: str) -> object:
        for servicer in self._servicers:
            if hasattr(servicer, name):
                found = self.__dict__[name] = getattr(servicer, name)
                return found
        raise AttributeError(name)
