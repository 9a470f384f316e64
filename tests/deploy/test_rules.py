"""Alerts fire when they should, name what is measured, and say what to do; objectives are what the runbook says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.docs.markdown import ROOT, anchors
from tools import metrics
from tools.prometheus import RULES, UNIT_TESTS, promtool

FAMILIES = {family.name: family for family in [*metrics.server(), *metrics.worker()]}
RUNBOOK = (ROOT / "docs/runbook.md").read_text()


def read(path: Any) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(path)
    return found


def rules(of: str) -> list[dict[str, Any]]:
    """The rules that are alerts, or records."""
    return [rule for group in read(RULES)["groups"] for rule in group["rules"] if of in rule]


ALERTS = {f"{rule['alert']} {rule['labels']['severity']}": rule for rule in rules("alert")}
RECORDS = {rule["record"]: rule for rule in rules("record")}
CASES = [case for path in UNIT_TESTS for case in read(path)["tests"]]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric that an expression reads, with the labels that it is selected by."""
    found = []
    for name, inner in re.findall(r"\b((?:jobqueue|worker|grpc_server)_[a-z_]+)(?:\{([^}]*)\})?", expression):
        found.append((name, set(re.findall(r"(\w+)\s*[=!]", inner))))
    return found


def family_of(name: str) -> metrics.Family:
    found = FAMILIES.get(name) or FAMILIES.get(re.sub(r"_(bucket|sum|count)$", "", name))
    assert found is not None, f"there is no metric {name}"
    return found


@pytest.mark.unit
@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_a_rule_reads_what_is_measured_by_labels_that_it_has(rule: dict[str, Any]) -> None:
    read_here = selectors(rule["expr"])
    assert read_here or "jobqueue:slo:" in rule["expr"]
    for name, labels in read_here:
        assert labels <= {*family_of(name).labels, "le"}, name
    for record in re.findall(r"jobqueue:[a-z0-9_:]+", rule["expr"]):
        assert record in RECORDS, f"nothing records {record}"


@pytest.mark.unit
@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_what_all_servers_tell_alike_is_not_added_up(rule: dict[str, Any]) -> None:
    for name, inner in re.findall(r"\bsum by \([^)]*\) \(\s*(jobqueue_[a-z_]+)(\{[^}]*\})?", rule["expr"]):
        # Over the lanes of a queue only whether it is more than nothing is asked.
        if (name, inner) != ("jobqueue_queue_depth", '{status="queued"}'):
            assert family_of(name).over == "sum", name


@pytest.mark.unit
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.name)
def test_groups_are_tested_in_the_order_in_which_they_read_each_other(path: Any) -> None:
    # Without it promtool takes them in any order, and an alert may see what was recorded ten minutes before.
    assert read(path)["group_eval_order"] == [group["name"] for group in read(RULES)["groups"]]


@pytest.mark.unit
@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_where_it_says_what_to_do(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors((ROOT / path).read_text())


@pytest.mark.unit
@pytest.mark.parametrize("alert", sorted({rule["alert"] for rule in ALERTS.values()}))
def test_the_runbook_says_of_each_alert_the_sign_where_to_look_what_to_do_and_how_to_verify_it(
    alert: str,
) -> None:
    section = RUNBOOK.split(f"\n### {alert}\n")[1].partition("\n#")[0]
    assert re.findall(r"^- \*\*(\w+)\*\*: ", section, re.MULTILINE) == ["Sign", "Look", "Do", "Verify"]


@pytest.mark.unit
def test_the_runbook_has_no_section_of_an_alert_that_is_not_there() -> None:
    named = set(re.findall(r"^### (JobQueue\w+)$", RUNBOOK, re.MULTILINE))
    assert named == {rule["alert"] for rule in ALERTS.values()}


@pytest.mark.unit
@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    name, severity = alert.split()
    fires, quiet = 0, 0
    for case in CASES:
        for asked in case.get("promql_expr_test", []):
            if f'alertname="{name}"' in asked["expr"]:
                expected = [sample["labels"] for sample in asked["exp_samples"]]
                says = case["name"]
                assert says.startswith(f"{name} {'fires' if expected else 'does not fire: '}"), says
                fires += any(f'severity="{severity}"' in labels for labels in expected)
                quiet += not expected
    assert fires, f"{alert} fires in no case"
    assert quiet, f"{alert} is quiet in no case"


@pytest.mark.prometheus
def test_the_rules_are_taken_by_prometheus() -> None:
    ran = promtool("check", "rules", RULES)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(rules('alert')) + len(rules('record'))} rules found" in ran.stdout


@pytest.mark.prometheus
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.name)
def test_alerts_fire_and_do_not_fire_as_their_cases_say(path: Any) -> None:
    ran = promtool("test", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
