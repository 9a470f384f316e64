"""The server of JobQueue: the only code that knows SQL."""

from importlib.metadata import version

__version__ = version("jobqueue-server")
