"""Every refusal has one code, one row and one section in the manual."""

import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path

import payymo
from payymo.errors import PayymoError
from payymo.web import problems

MANUAL = Path(__file__).parents[2] / "docs" / "errors.md"
INTERNAL = PayymoError.code


def every_error() -> list[type[PayymoError]]:
    """The root and each class under it, in whatever module it is."""
    for module in pkgutil.walk_packages(payymo.__path__, "payymo."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[PayymoError]] = []
    waiting: list[type[PayymoError]] = [PayymoError]
    while waiting:
        kind = waiting.pop()
        if kind not in found and kind.__module__.startswith("payymo."):
            found.append(kind)
        waiting += kind.__subclasses__()
    return found


def sections() -> dict[str, str]:
    """The manual's sections by code."""
    parts = re.split(r"^## ", MANUAL.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].strip("` "): part.partition("\n")[2] for part in parts}


def test_every_error_has_a_code_of_its_own() -> None:
    """A client tells refusals apart by code; only errors of ours share one, which says nothing."""
    codes = Counter(kind.code for kind in every_error() if kind.code != INTERNAL)
    assert [code for code, count in codes.items() if count > 1] == []
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_every_error_has_a_row() -> None:
    """What an error becomes in HTTP is written down, not fallen back to; errors of ours are 500 by the root's row."""
    missing = [kind for kind in every_error() if kind not in problems.TABLE and kind.code != INTERNAL]
    assert missing == []
    assert {problems.row_of(kind("x")).status for kind in every_error() if kind.code == INTERNAL} == {500}


def test_the_table_has_no_row_too_many() -> None:
    """A row whose error is gone goes too."""
    assert set(problems.TABLE) <= set(every_error())


def test_every_code_has_a_section_in_the_manual() -> None:
    """Whoever meets a code finds it in the manual, with the status that it really has; nothing else stands there."""
    rows = {kind.code: problems.TABLE[kind] for kind in problems.TABLE}
    found = sections()
    assert sorted(found) == sorted(rows)
    for code, row in rows.items():
        assert re.match(rf"\s*\*\*{row.status} {re.escape(row.title)}\.\*\*", found[code]), code
        assert "**What to do:**" in found[code], code
