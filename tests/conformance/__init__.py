"""One suite of the Lease protocol for workers in any language; docs/conformance.md says what a worker must bring.

`server.py` plays the server's part, `ledger.py` holds each frame against the rules of `rules.py`, `worker.py` is the
worker under test as a process, `cases/` what happens to it, and `stage.py` all that one case is given.
"""
