"""Stand-ins for `helm`, `kubectl` and `docker` on the path of a test, which has no cluster.

Each keeps what it is given in a folder, and fails where the real one would: at values that the chart refuses, at things
that Kubernetes does not know, at what was never made. `python -m tests.deploy.stand_ins helm install ...`
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from . import chart, dockerfile
from .conftest import DEPLOY, ROOT
from .helm import kubernetes_validate

#: The folder: values of each release, objects and Secrets by name.
FOLDER = "STAND_INS"


def main() -> None:
    program, *words = sys.argv[1:]
    {"helm": helm, "kubectl": kubectl, "docker": docker}[program](words)


def store(name: str) -> Path:
    return Path(os.environ[FOLDER]) / name


def put(thing: chart.Object) -> None:
    store(f"{thing['kind'].lower()}-{thing['metadata']['name']}.json").write_text(json.dumps(thing))


def get(kind: str, name: str) -> dict[str, Any]:
    path = store(f"{kind.removesuffix('s')}-{name}.json")
    if not path.exists():
        sys.exit(f"Error from server (NotFound): {kind} {name} not found")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def helm(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="helm", allow_abbrev=False)
    parser.add_argument("command", choices=("install", "upgrade", "template", "test"))
    parser.add_argument("release")
    parser.add_argument("chart", nargs="?")
    for flag in ("--install", "--wait", "--create-namespace"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--values", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args(words)
    if given.command == "test":
        get("deployment", f"{given.release}-jobqueue")
        return
    assert (ROOT / given.chart).samefile(chart.CHART)
    values: dict[str, Any] = {}
    for name in given.values:
        _merge(values, YAML(typ="safe").load(Path(name)))
    for each in given.set:
        path, _, value = each.partition("=")
        *groups, last = path.split(".")
        at = values
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
    objects = chart.rendered(values, name=given.release)
    for thing in objects:
        if "keda" not in thing["apiVersion"] and "coreos" not in thing["apiVersion"]:
            kubernetes_validate.validate(thing, "1.37", strict=True)
        if given.command != "template" and not _is_there(thing):
            put(thing)
    if given.command == "template":
        YAML().dump_all(objects, sys.stdout)
    _look_for_secrets(objects)


def _is_there(thing: chart.Object) -> bool:
    """Whether it is a Secret that was made: its data stay."""
    return thing["kind"] == "Secret" and store(f"secret-{thing['metadata']['name']}.json").exists()


def _look_for_secrets(objects: list[chart.Object]) -> None:
    """Pods would wait for a Secret that is not there."""
    for _, pod in chart.pods(objects):
        for container in chart.containers(pod):
            for each in container.get("env", []):
                ref = each.get("valueFrom", {}).get("secretKeyRef")
                if ref and not ref.get("optional"):
                    secret = get("secret", ref["name"])
                    assert ref["key"] in {**secret.get("data", {}), **secret.get("stringData", {})}, ref
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                get("secret", volume["secret"]["secretName"])


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for name, each in other.items():
        if isinstance(each, dict) and isinstance(into.get(name), dict):
            _merge(into[name], each)
        else:
            into[name] = each


def kubectl(words: list[str]) -> None:
    assert words[:1] == ["--namespace"], "each command of the page names its namespace"
    command, *rest = words[2:]
    if command == "create":
        secret(rest)
    elif command == "get":
        kind, name, _, path = rest
        key = path.removeprefix("jsonpath={.data.").removesuffix("}")
        print(get(kind, name)["data"][key], end="")
    elif command == "apply":
        assert list(YAML(typ="safe").load_all(Path(rest[1])))
    else:
        # `rollout status deployment/NAME`, `logs job/NAME`, `port-forward service/NAME`, `scale`, `exec`.
        kind, _, name = next(word for word in rest if "/" in word).partition("/")
        thing = get(kind, name)
        if "--container" in rest:
            names = {each["name"] for each in chart.containers(thing["spec"]["template"])}
            assert rest[rest.index("--container") + 1] in names


def secret(words: list[str]) -> None:
    kind, generic, name, *literals = words
    assert (kind, generic) == ("secret", "generic")
    data = {}
    for each in literals:
        flag, key, value = each.split("=", 2)
        text = Path(value).read_text() if flag == "--from-file" else value
        data[key] = base64.b64encode(text.encode()).decode()
    put({"kind": "Secret", "metadata": {"name": name}, "data": data})


def docker(words: list[str]) -> None:
    command, *rest = words
    if command == "build":
        assert (ROOT / rest[rest.index("--file") + 1]).samefile(DEPLOY / "Dockerfile")
        target = rest[rest.index("--target") + 1]
        assert target in dockerfile.read(DEPLOY / "Dockerfile")
        store("images").open("a").write(rest[rest.index("--tag") + 1] + "\n")
    else:
        assert command == "push"
        assert rest[0] in store("images").read_text().split()


if __name__ == "__main__":
    main()
