"""Helm's library and Kubernetes' schemas, which `make chart` and `make check` install; `make test` does without."""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn


class _Missing:
    """Stands for a package that is not installed, so that the tests that use it can be told apart before they run."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ModuleNotFoundError("Helm's library is not installed: run `make chart`")


helm_python: Any = _Missing()
kubernetes_validate: Any = _Missing()
if find_spec("helm_python") is not None:
    helm_python = import_module("helm_python")
    kubernetes_validate = import_module("kubernetes_validate")
    # It reads its schemas anew for each object, megabytes of them.
    kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)
