"""The test service as a process of its own, and what its TLS takes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.tls.conftest import Authority

from .clients import ROOT, Files
from .messages import descriptors

# Built into programs, so it has a place of its own.
_DESCRIPTORS = ROOT / ".cache" / "interop" / "testing.binpb"


@contextlib.contextmanager
def served(engine: str, pair: tuple[str, str] | None = None) -> Iterator[int]:
    """Its port, as long as it runs.

    Args:
        engine: Of `jobqueue_server.rpc.engines.ENGINES`.
        pair: The PEM files of a certificate and its key; without them, in plain text.
    """
    command = [sys.executable, "-m", "tests.interop.server", "--engine", engine]
    if pair is not None:
        command += ["--tls-cert", pair[0], "--tls-key", pair[1]]
    # The engine of grpcio prints a line for each client that leaves by GOAWAY.
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"listening on .*:(\d+)\n", line)
            assert found is not None, f"the test service did not start: {line!r}"
            yield int(found[1])
        finally:
            process.terminate()


def lay_out(folder: Path, *, java: bool) -> tuple[Files, tuple[str, str]]:
    """The files that clients are told of, and a server's certificate and key.

    Args:
        folder: Where to.
        java: Whether a Java trust store is wanted, which takes the JDK.
    """
    authority = Authority(folder, "authority")
    trust = folder / "trust.p12"
    if java:
        command = ["keytool", "-importcert", "-noprompt", "-alias", "authority", "-file", str(authority.cert)]
        command += ["-keystore", str(trust), "-storetype", "PKCS12", "-storepass", "interop"]
        subprocess.run(command, check=True, capture_output=True)
    made = descriptors()
    if not _DESCRIPTORS.exists() or _DESCRIPTORS.read_bytes() != made:
        _DESCRIPTORS.parent.mkdir(parents=True, exist_ok=True)
        _DESCRIPTORS.write_bytes(made)
    return Files(_DESCRIPTORS, authority.cert, trust), authority.issue("server")
