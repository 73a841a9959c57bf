"""What is written about metrics is true: the alert rules, the list for operators, the vocabulary of events."""

import ast
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from payymo.audit.model import Record
from payymo.cli.audit_events import table
from payymo.events import CATALOGUE
from payymo.metrics.catalogue import COUNTED, READ
from payymo.metrics.family import Family

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "payymo.rules.yml"
FAMILIES = {family.name: family for family in (*COUNTED, *READ)}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def family_of(name: str) -> Family:
    return FAMILIES.get(name) or FAMILIES[re.sub("_(bucket|count|sum)$", "", name)]


def asked_wrongly(expression: str) -> Iterator[str]:
    """What an expression asks for that is not exported."""
    asked = re.findall(r"\b(payymo_[a-z_]+)(?:\{([^}]*)\})?", expression)
    if not asked or expression.count("(") != expression.count(")"):
        yield expression
    for name, matchers in asked:
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            words = frozenset({"$instance"}) if label == "instance" else family_of(name).labels[label]
            if words is not None and not set(values.split("|")) <= words:
                yield f"{name}: {label}={values}"


def test_alerts_ask_for_metrics_labels_and_values_that_there_are() -> None:
    """A rule that asks for what is not exported never fires, and nobody notices."""
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert list(asked_wrongly(rule["expr"])) == [], rule["alert"]
        named = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        kept = re.findall(r"by \((\w+)\)", rule["expr"])
        assert all(label in kept or label == "instance" for label in named), rule["alert"]


def test_what_must_not_be_missed_has_an_alert() -> None:
    """Issue by issue, the reasons to wake somebody."""
    asked = " ".join(rule["expr"] for rule in rules())
    for days in ("30 * 86400", "7 * 86400", "<= 86400"):
        assert days in asked
    for name in (
        "payymo_certificate_expiry_timestamp_seconds",
        "payymo_signing_key_next_change_timestamp_seconds",
        "payymo_duties_last_success_timestamp_seconds",
        "payymo_feed_followers",
        "payymo_security_events_total",
    ):
        assert name in asked


def test_the_dashboard_asks_for_what_there_is_and_shows_all_of_it() -> None:
    """A panel without data looks like a quiet service. Grafana's import asks for a data source, and nothing else."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "payymo.json").read_text("utf-8"))
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in shown for target in panel["targets"]]
    assert [fault for expression in expressions for fault in asked_wrongly(expression)] == []
    names = {family_of(name).name for text in expressions for name in re.findall(r"\bpayymo_[a-z_]+", text)}
    assert names == set(FAMILIES)
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert [(one["name"], one["type"]) for one in dashboard["templating"]["list"]] == [
        ("datasource", "datasource"),
        ("instance", "query"),
    ]
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["id"] is None  # Grafana gives it one of its own
    for panel in shown:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == source
        for target in panel["targets"]:
            assert target["datasource"] == source
            kept = set(re.findall(r"[a-z]+", " ".join(re.findall(r"by \(([^)]+)\)", target["expr"])))) | {"instance"}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_lie_side_by_side() -> None:
    """None covers another one."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "payymo.json").read_text("utf-8"))
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_the_list_for_operators_is_the_catalogue() -> None:
    """docs/operations/metrics.md has a row for every metric, and for nothing else."""
    text = (ROOT / "docs" / "operations" / "metrics.md").read_text("utf-8")
    listed = re.findall(r"^\| `(payymo_[a-z_]+)`(?: `\{([a-z, ]+)\}`)? \|", text, re.MULTILINE)
    assert {name: set(filter(None, labels.split(", "))) for name, labels in listed} == {
        family.name: set(family.labels) for family in FAMILIES.values()
    }
    alerts = re.findall(r"^\| `(Payymo\w+)` \|", text, re.MULTILINE)
    assert alerts == [rule["alert"] for rule in rules()]


def written() -> Iterator[str]:
    """The names of events in the source, as patterns: what is filled in may be any word."""
    for path in (ROOT / "src" / "payymo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event":
                parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
                yield "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z_.-]+" for part in parts
                )


def test_events_are_those_of_the_catalogue() -> None:
    """A new event gets a row in payymo/events.py; until it has one, it can't be put on record."""
    patterns = set(written()) - {"[a-z_.-]+"}  # a name that is handed on
    assert len(patterns) > 50
    for pattern in patterns:
        assert any(re.fullmatch(pattern, event) for event in CATALOGUE), pattern


def test_the_table_of_events_is_the_catalogue() -> None:
    """`make docs` writes it: docs/events.md ends with the table, and says what every record has."""
    text = (ROOT / "docs" / "events.md").read_text("utf-8")
    prose, head, rows = text.partition("| event |")
    assert (head + rows).splitlines() == list(table())
    record = Record(uuid.UUID(int=1), None, "tenant.active", 1, 0, "-", "-", "success", {}, {"a": 1}, {"a": 2}, "00")
    for member in json.loads(record.encode()):
        assert f"| `{member}` |" in prose
