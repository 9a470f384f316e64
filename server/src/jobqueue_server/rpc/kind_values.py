"""What is read of a kind to be put: which of its fields, and what its owners say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jobqueue.v1 import queue_admin_pb2 as pb

from ..model import MAX_ANNOTATION_BYTES, MAX_ANNOTATION_NAME, MAX_ANNOTATIONS, MAX_KIND_VERSION
from . import checks
from .checks import Problems

#: The pattern of the name of an annotation.
ANNOTATION_NAME = f"[A-Za-z0-9][A-Za-z0-9_./-]{{0,{MAX_ANNOTATION_NAME - 1}}}"
_is_annotation = re.compile(ANNOTATION_NAME).fullmatch

_LIMITS = "limits"
#: By each path the attributes of `model.Kind` that it names.
PATHS = {
    "schema": ("schema",),
    "retry_policy": ("retry_policy",),
    "max_attempts": ("max_attempts",),
    "timeout": ("timeout",),
    _LIMITS: ("max_running", "rate"),
    f"{_LIMITS}.max_running": ("max_running",),
    f"{_LIMITS}.rate": ("rate",),
    "slot_weight": ("slot_weight",),
    "version": ("version",),
    "output_schema": ("output_schema",),
    "annotations": ("annotations",),
}
#: The other members of the same oneof: tools that name what is set name these.
_SAME = {"schema_json": "schema", "output_schema_json": "output_schema"}


def fields_named(request: pb.PutKindRequest, problems: Problems) -> frozenset[str] | None:
    """The attributes of `model.Kind` that the mask names; None: all.

    If `problems` gets anything, the answer must not be used.
    """
    found: set[str] = set()
    for path in request.update_mask.paths:
        names = PATHS.get(_SAME.get(path, path))
        if names is None:
            checks.mask_path(path, PATHS, problems)
        found.update(names or ())
    return frozenset(found) if request.update_mask.paths else None


def check_version(given: int, field: str, problems: Problems) -> None:
    """Checks the version of a kind's payloads."""
    if not 0 <= given <= MAX_KIND_VERSION:
        problems.add(field, f"must be from 1 to {MAX_KIND_VERSION}, or 0 for none")


def check_annotations(given: Mapping[str, str], field: str, problems: Problems) -> None:
    """Checks the annotations of a kind."""
    if len(given) > MAX_ANNOTATIONS:
        problems.add(field, f"must be at most {MAX_ANNOTATIONS} annotations, not {len(given)}")
    for name, value in given.items():
        at = f"{field}[{name[:MAX_ANNOTATION_NAME]}]"
        if not _is_annotation(name):
            words = (
                f"must be 1 to {MAX_ANNOTATION_NAME} of A-Z a-z 0-9 _ . / - and begin with a letter or digit"
            )
            problems.add(at, words)
        if (size := len(value.encode())) > MAX_ANNOTATION_BYTES:
            problems.add(at, f"has {size} bytes; at most {MAX_ANNOTATION_BYTES} are allowed")
        elif "\x00" in value:
            problems.add(at, "must not hold a NUL character")
