"""`python -m jobqueue_server` is `jobqueue-server`."""

from .cli import main

main()
