"""Names of schemas and of variables in paths that other people's tools can use; on the wire stands neither."""

from __future__ import annotations

#: The constructor of a model `Job` is `NewJob` in the Go of openapi-generator.
_INSTEAD = {"NewJob": "JobToEnqueue"}


def schema_name(message: str) -> str:
    """A message's name as a schema.

    `ListJobsResponse` is what oapi-codegen calls its own type for what the operation ListJobs answers, whatever the
    status; what is answered where all went well is `ListJobsReply`.
    """
    if message.endswith("Response"):
        return f"{message.removesuffix('Response')}Reply"
    return _INSTEAD.get(message, message)


def variable_name(variable: str) -> str:
    """The name of a path's variable: that of the field alone, since tools take one with a dot for something else."""
    return variable.rpartition(".")[2]
