"""Asks the program of this container whether it lives, for HEALTHCHECK: `health.py VARIABLE`, which names its port."""

import os
import sys
import urllib.request

port = os.environ[sys.argv[1]].rpartition(":")[2]
# No proxy: this is a question to ourselves.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
    sys.exit(answer.status != 200)
