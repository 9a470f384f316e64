"""Makes the first key and writes it into a Secret: `first_key.py SECRET NAME`, in a pod of the chart.

The key is in no log. It is not made where the Secret has one, nor where the Secret can't be written, nor where an
administrator has a key already.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

# Where Kubernetes puts what a pod needs to talk to it.
ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
SECONDS = 10
TRIES = 5
THERE_IS_ONE = "a key of an administrator is good already"


class Secret:
    """One Secret of the pod's own namespace.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        at = f"[{host}]" if ":" in host else host
        namespace = (ACCOUNT / "namespace").read_text().strip()
        self._url = f"https://{at}:{port}/api/v1/namespaces/{namespace}/secrets/{name}"
        context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        # Kubernetes is asked itself, whatever proxy stands in the environment.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def key(self) -> str:
        """What it holds; empty: nothing yet."""
        return str((self._ask("GET").get("data") or {}).get("key", ""))

    def write(self, key: str, *, try_only: bool = False) -> None:
        """Writes the key, or asks whether it might be written."""
        data = {"data": {"key": base64.b64encode(key.encode()).decode()}}
        self._ask("PATCH", data, "?dryRun=All" if try_only else "")

    def _ask(self, method: str, body: object = None, query: str = "") -> dict[str, Any]:
        request = urllib.request.Request(self._url + query, method=method)
        # It is renewed while the pod lives.
        request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text().strip()}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/merge-patch+json")
        with self._opener.open(request, timeout=SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


def main(secret_name: str, key_name: str) -> None:
    """Ends the program where no key is made or kept, with why."""
    secret = Secret(secret_name)
    try:
        if secret.key():
            print(f"the Secret {secret_name} has a key already")
            return
        # A key that could not be kept would be lost.
        secret.write("", try_only=True)
    except OSError as error:
        sys.exit(f"the Secret {secret_name} can't be written, so no key is made: {error}")
    made = subprocess.run(
        ["jobqueue-server", "keys", "bootstrap", key_name, "--admin"],
        capture_output=True,
        text=True,
        check=False,
    )
    if THERE_IS_ONE in made.stderr:
        print(f"{THERE_IS_ONE}, so none is made, and the Secret {secret_name} stays empty")
        return
    if made.returncode:
        sys.exit(made.stderr.strip())
    keep(secret, made.stdout.strip())
    print(f"the first key is in the Secret {secret_name}")


def keep(secret: Secret, key: str) -> None:
    """Writes the key, and tries again for a while: it is told once."""
    for left in reversed(range(TRIES)):
        try:
            secret.write(key)
            return
        except OSError as error:
            if not left:
                sys.exit(
                    f"the first key is made and could not be kept: {error}. It is lost; make another one by "
                    "`jobqueue-server keys bootstrap NAME --admin --force`, and revoke this one with that"
                )
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
