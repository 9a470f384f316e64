"""`python -m jobqueue_worker` is `jobqueue-worker`."""

from .cli import main

main()
