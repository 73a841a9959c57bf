"""What is written about metrics is true: the alert rules, the list for operators, the vocabulary of events."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from payymo.events import EVENTS
from payymo.metrics.catalogue import COUNTED, READ, Family

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "payymo.rules.yml"
FAMILIES = {family.name: family for family in (*COUNTED, *READ)}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def family_of(name: str) -> Family:
    return FAMILIES.get(name) or FAMILIES[re.sub("_(bucket|count|sum)$", "", name)]


def test_alerts_ask_for_metrics_labels_and_values_that_there_are() -> None:
    """A rule that asks for what is not exported never fires, and nobody notices."""
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        asked = re.findall(r"\b(payymo_[a-z_]+)(?:\{([^}]*)\})?", rule["expr"])
        assert asked, rule["alert"]
        for name, matchers in asked:
            labels = family_of(name).labels
            for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                words = labels[label]
                assert words is None or set(values.split("|")) <= words, f"{rule['alert']}: {label}={values}"
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
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "event":
                parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
                yield "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z_-]+" for part in parts
                )


def test_events_are_those_of_the_vocabulary_and_of_the_documents() -> None:
    """A new event is named in payymo/events.py and in docs/operating.md; until it is, it counts as `other`."""
    table = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("| event | when |")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines()]
    assert {name for row in rows for name in re.findall(r"`([a-z_.-]+)`", row)} == EVENTS
    for pattern in written():
        if pattern != "[a-z_-]+":  # a name that is handed on
            assert any(re.fullmatch(pattern, event) for event in EVENTS), pattern
