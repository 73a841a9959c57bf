"""`make bench`: runs the measurements and prints a table of ratios with their targets.

A missed target is a line in the table, not an error: the exit code is 0 when everything could be measured.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from bench import subjects
from bench.measure import Figure
from bench.scene import Scene, scenes

SUBJECTS: dict[str, Callable[..., list[Figure]]] = {
    "login": subjects.login,
    "refresh": subjects.refresh,
    "protected": subjects.protected,
    "server": subjects.server,
    "revocations": subjects.revocations,
}


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios to this machine's own floors.")
    parser.add_argument("--only", choices=sorted(SUBJECTS), action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="few rounds and small tables: a smoke test")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON for programs")
    options = parser.parse_args()
    rounds = 5 if options.quick else 20
    with scenes() as found:
        for line in subjects.floors(found, rounds=rounds):
            print(f"floor  {line}", file=sys.stderr)
        figures = [
            figure
            for name in options.only or SUBJECTS
            for figure in _measure(name, found, rounds=rounds, quick=options.quick)
        ]
    if options.as_json:
        print(json.dumps([asdict(figure) | {"met": figure.is_met} for figure in figures]))
        return 0
    for figure in figures:
        sign, verdict = "<=" if figure.at_most else ">=", "met" if figure.is_met else "MISSED"
        print(f"{verdict:7}{figure.name:58}{figure.value:9.2f}{figure.unit:3}  {sign} {figure.target:g}{figure.unit}")
    return 0


def _measure(name: str, found: dict[str, Scene], *, rounds: int, quick: bool) -> list[Figure]:
    print(f"measuring {name} …", file=sys.stderr)
    if name == "revocations" and quick:
        return subjects.revocations(found, rounds=rounds, few=100, many=20_000)
    return SUBJECTS[name](found, rounds=rounds)


if __name__ == "__main__":
    sys.exit(main())
