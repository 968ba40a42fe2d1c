"""The command line: run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from . import machine, report
from .peers import ADAPTERS, OURS, PEERS, ROOF
from .rows import Row, select
from .runner import HERE, Process, Settings, Team, measure

SOURCE = HERE.parent if (HERE.parent / "fastnn").is_dir() else None     # None: an installed wheel


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench", description="fastnn beside other libraries on this machine.")
    p.add_argument("--rows", nargs="+", default=[], metavar="PATTERN",
                   help="ids, their beginnings (matmul), patterns ('*-512'), groups (training)")
    p.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS, metavar="PEER",
                   help=f"of {', '.join(PEERS)}; without a name: fastnn alone")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=15, help="samples per row and library")
    p.add_argument("--quick", action="store_true", help="10 samples of 10 ms")
    p.add_argument("--isa", help="instruction set of fastnn and of the roof")
    p.add_argument("--output", type=Path, default=Path("bench-results"), metavar="FOLDER",
                   help="where the JSON goes; default: bench-results")
    p.add_argument("--list", action="store_true", help="show the rows and end")
    return p


def progress(text: str) -> None:
    """One changing line on a terminal, nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(rows: list[Row], names: list[str], settings: Settings) -> dict[str, Any]:
    """Measure the rows with these libraries: what goes into the JSON file."""
    result: dict[str, Any] = {
        "format": 1, "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.describe(), "commit": SOURCE and machine.commit(SOURCE),
        "threads": settings.threads, "repeats": settings.repeats, "rows": []}
    with Team(names, lambda name: Process(name, settings, SOURCE)) as team:
        result |= {"libraries": team.about, "missing": team.missing}
        for i, row in enumerate(rows):
            def tick(text: str, i: int = i, row: Row = row) -> None:
                progress(f"{i + 1}/{len(rows)} {row.id}: {text}")

            try:
                results = measure(team, row, settings, OURS, tick)
            except KeyboardInterrupt as e:
                result["interrupted"], results = True, e.args[0] if e.args else {}
            result["rows"].append({key: getattr(row, key) for key in (
                "id", "what", "group", "goal", "flops", "bytes")} | {"results": results})
            if result.get("interrupted"):
                break
        result["idle"] = team.idle_share()
    progress("")
    return result


def main(arguments: list[str] | None = None) -> None:
    p = parser()
    options = p.parse_args(arguments)
    try:
        rows = select(options.rows)
    except ValueError as e:
        p.error(str(e))
    if options.list:
        for row in rows:
            print(f"{row.id:22} {row.group:10} {row.what}")
        return
    settings = Settings(options.threads, options.repeats, isa=options.isa)
    if options.quick:
        settings = Settings(options.threads, 10, 0.01, options.isa)
    names = [n for n in ADAPTERS if n in (OURS, ROOF, *options.peers)]
    result = run(rows, names, settings)
    report.print_table(result)
    options.output.mkdir(parents=True, exist_ok=True)
    stem = options.output / f"{result['started'].replace(':', '')}-{result['commit'] or 'wheel'}"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1))
    print(f"written: {stem}.json")
