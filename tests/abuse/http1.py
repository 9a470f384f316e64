"""Floods of HTTP/1.1, on the port of HTTP/JSON."""

from __future__ import annotations

import gzip

from .flood import SILENT, Stream, Target, again, flood, on_each, once

_GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"
_POST = b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
_CHUNKED = _POST + b"transfer-encoding: chunked\r\n\r\n"


def _whole(body: bytes, more: bytes = b"") -> bytes:
    return _POST + more + b"content-length: %d\r\n\r\n%b" % (len(body), body)


async def _same(target: Target, sent: bytes, opening: bytes = b"") -> None:
    await on_each(target, again(sent, opening, http=True))


@flood("HTTP: in a row", "requests in a row, answers read")
async def _in_a_row(target: Target) -> None:
    await _same(target, (_GET + b"\r\n") * 500)


@flood("HTTP: unread", "requests in a row whose answers are not read, small ones and of 200 kB")
async def _unread(target: Target) -> None:
    small = (_GET + b"\r\n") * 500
    large = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100
    await on_each(target, *(again(sent, reads=False, http=True) for sent in (small, large)))


@flood("HTTP: upgrades", "requests in a row that ask for an upgrade")
async def _upgrades(target: Target) -> None:
    await _same(target, _whole(b"{}", b"connection: upgrade\r\nupgrade: h2c\r\n") * 200)


@flood("HTTP: slow heads", "500 connections, a field a second")
async def _slow_heads(target: Target) -> None:
    await on_each(
        target, Stream(_GET, lambda number: b"x-%d: y\r\n" % number, http=True, pause=1.0), connections=500
    )


@flood("HTTP: slow bodies", "500 connections, a byte a second of 4 MB")
async def _slow_bodies(target: Target) -> None:
    begun = _POST + b"content-length: 4000000\r\n\r\n{"
    await on_each(target, Stream(begun, lambda _: b" ", http=True, pause=1.0), connections=500)


@flood("HTTP: unfinished bodies", "16 connections, bodies of 4 MB less a byte")
async def _unfinished(target: Target) -> None:
    await once(
        target, _POST + b"content-length: 4000001\r\n\r\n" + b" " * 4_000_000, connections=16, http=True
    )


@flood("HTTP: endless heads", "fields without an end, and a path without one")
async def _endless_heads(target: Target) -> None:
    fields = Stream(_GET, lambda _: (b"x-more: " + b"y" * 1000 + b"\r\n") * 50, http=True)
    path = Stream(b"GET /", lambda _: b"x" * 50_000, http=True)
    await on_each(target, fields, path)


@flood("HTTP: many fields", "requests with 7,000 fields of a byte")
async def _many_fields(target: Target) -> None:
    await _same(target, _GET + b"a:b\r\n" * 7000 + b"\r\n")


@flood("HTTP: tiny chunks", "bodies in chunks of one byte")
async def _tiny_chunks(target: Target) -> None:
    await _same(target, b"1\r\n \r\n" * 2000, _CHUNKED)


@flood("HTTP: chunk extensions", "of 1 kB each, and one without an end")
async def _extensions(target: Target) -> None:
    each = Stream(_CHUNKED, lambda _: (b"1;" + b"x" * 1000 + b"\r\n \r\n") * 50, http=True)
    endless = Stream(_CHUNKED + b"1;", lambda _: b"x" * 50_000, http=True)
    await on_each(target, each, endless)


@flood("HTTP: bombs", "bodies of 4 kB that are 4 MB, and of 10 kB that are 10 MB")
async def _bombs(target: Target) -> None:
    zipped = b"content-encoding: gzip\r\n"
    bodies = [gzip.compress(b'{"kind": "' + bytes(size)) for size in (4_000_000, 10_000_000)]
    await on_each(target, *(again(_whole(body, zipped) * 5, http=True) for body in bodies))


@flood("HTTP: deep bodies", "bodies of 100 kB that are lists in lists")
async def _deep(target: Target) -> None:
    await _same(target, _whole(b'{"kind": "k", "payload": ' + b"[" * 100_000) * 2)


@flood("HTTP: expectations", "Expect: 100-continue, and nothing after it")
async def _expectations(target: Target) -> None:
    begun = _POST + b"expect: 100-continue\r\ncontent-length: 10\r\n\r\n"
    await on_each(target, Stream(begun, lambda _: b"", http=True, pause=0.05), connections=200)


@flood("HTTP: silent", f"{SILENT} connections that say nothing")
async def _silent(target: Target) -> None:
    await once(target, b"", connections=SILENT, http=True)


@flood("HTTP: connecting", "a connection for each request: good ones, HTTP/2, garbage, two lengths")
async def _connecting(target: Target) -> None:
    said = [
        _GET + b"connection: close\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01" + bytes(100),
        _whole(b"{}", b"content-length: 5\r\n"),
    ]  # fmt: skip
    await on_each(target, *(Stream(sent, lambda _: b"", http=True, pause=0.001) for sent in said))
