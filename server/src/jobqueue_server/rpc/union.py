"""Joins several servicers into one."""

from __future__ import annotations


class ServicerUnion:
    """One servicer with the methods of several. A method that was looked up is kept as an attribute."""

    def __init__(self, *servicers: object) -> None:
        self._servicers = servicers

    def __getattr__(self, name: str) -> object:
        for servicer in self._servicers:
            if hasattr(servicer, name):
                found = self.__dict__[name] = getattr(servicer, name)
                return found
        raise AttributeError(name)
