"""Asks the program of this container whether it lives, for HEALTHCHECK: `health.py VARIABLE`, which names its port."""

import os
import socket
import ssl
import sys
import urllib.request

SECONDS = 2

port = int(os.environ[sys.argv[1]].rpartition(":")[2])
try:
    if os.environ.get("JOBQUEUE_TLS_CERT"):
        # A handshake is enough: the event loop has answered. A request might need a certificate, which we have none of.
        # Nor is the server's looked at: this is a question to ourselves.
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain:
            ssl._create_unverified_context().wrap_socket(plain).close()
    else:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=SECONDS):
            pass
except OSError as error:
    sys.exit(f"nothing that lives is at port {port}: {error}")
