"""`python -m jobqueue.cli` is `jobqueue`."""

from . import main

main()
