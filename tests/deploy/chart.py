"""Renders the chart, as `helm template` does: by Helm's own library, without a cluster."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .conftest import DEPLOY
from .helm import helm_python

CHART = DEPLOY / "helm/jobqueue"
SETS = {path.stem: path for path in sorted((Path(__file__).parent / "values").glob("*.yaml"))}
NAMESPACE = "queues"

Object = dict[str, Any]


class Refused(Exception):
    """Helm renders nothing; its text says why."""


def values_of(name: str) -> dict[str, Any]:
    """One of the sets."""
    return helm_python.values_from_yaml(SETS[name].read_text())


def rendered(values: Mapping[str, Any], *, name: str = "jobs") -> list[Object]:
    """What the chart makes of these values.

    Raises:
        Refused: by the schema or by the chart.
    """
    with helm_python.Chart.load(CHART) as chart:
        try:
            chart.validate_schema(dict(values))
            files = chart.render(dict(values), name=name, namespace=NAMESPACE)
        except helm_python.HelmError as error:
            raise Refused(str(error)) from None
    texts = (text for path, text in sorted(files.items()) if path.endswith(".yaml"))
    return [each for text in texts for each in YAML(typ="safe").load_all(text) if each]


def one(objects: list[Object], kind: str, name: str = "") -> Object:
    """The object of this kind whose name ends so."""
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name))
    return found


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Each pod that these objects make: the name of what makes it, and what it is."""
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield name, {"metadata": each["metadata"], "spec": each["spec"]}
        elif "template" in each.get("spec", {}):
            yield name, each["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(objects: list[Object], container: Object, secrets: Mapping[str, str]) -> dict[str, str]:
    """The variables that Kubernetes would give it. `secrets`: what is in Secrets of others, by NAME/KEY."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for each in container.get("env", []):
        if "value" in each:
            found[each["name"]] = each["value"]
        else:
            ref = each["valueFrom"]["secretKeyRef"]
            found[each["name"]] = _secret(objects, ref["name"], ref["key"], secrets)
    return found


def _secret(objects: list[Object], name: str, key: str, secrets: Mapping[str, str]) -> str:
    for each in of_kind(objects, "Secret"):
        if each["metadata"]["name"] == name:
            data = {at: base64.b64decode(value).decode() for at, value in each.get("data", {}).items()}
            return str({**data, **each.get("stringData", {})}[key])
    return secrets[f"{name}/{key}"]


def seconds(duration: str) -> float:
    """A duration as the settings have it."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)", duration))


def schema() -> dict[str, Any]:
    """The schema of the values."""
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found
