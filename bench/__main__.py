"""`make bench`: runs the measurements and prints a table of figures with their targets.

A missed target is a line in the table, not an error: the exit code is 0 when everything could be measured.
"""

import argparse
import json
import sys
from dataclasses import asdict

from bench.measure import FULL, QUICK, Figure
from bench.scene import stage
from bench.subjects import CORES, SUBJECTS


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures against this machine's own floors.")
    parser.add_argument("--only", choices=list(SUBJECTS), action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="few rounds and small tables: a smoke test")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON for programs")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    figures: list[Figure] = []
    with stage() as built:
        for name in options.only or SUBJECTS:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            figures += SUBJECTS[name](built, effort)
    print(_json(figures) if options.as_json else _table(figures))
    return 0


def _json(figures: list[Figure]) -> str:
    return json.dumps([asdict(figure) | {"is_met": figure.is_met} for figure in figures], indent=2)


def _table(figures: list[Figure]) -> str:
    width = max(len(figure.name) for figure in figures)
    lines = [f"{'':{width}}  {'figure':>10}  {'target':>10}"]
    lines += [_line(figure, width) for figure in figures]
    return "\n".join([*lines, f"Medians over rounds, all within this run, on {CORES} cores."])


def _line(figure: Figure, width: int) -> str:
    verdict = {None: "", True: "met", False: "MISSED"}[figure.is_met]
    line = f"{figure.name:{width}}  {figure.value:>7.2f} {figure.unit:<2}  {_target(figure):>10}  {verdict:6}"
    return f"{line}  {figure.parts}".rstrip()


def _target(figure: Figure) -> str:
    if figure.at_least is not None:
        return f">= {figure.at_least:g} {figure.unit}"
    return "" if figure.at_most is None else f"<= {figure.at_most:g} {figure.unit}"


if __name__ == "__main__":
    sys.exit(main())
