"""Every case, in the order of a worker's life."""

# Each module adds its cases when it is imported; their order here is that of the table.
from . import hello, credit, delivery, settle, cancel, drain, moving, resume, status, typed, encoded, real  # noqa: F401, I001
