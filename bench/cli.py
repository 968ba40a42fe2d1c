"""The command line: measure, show a stored result again, compare two versions."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import chart, compare, machine, report
from .peers import ADAPTERS, NOT_PEERS, OURS, PEERS
from .rows import Row, select
from .runner import HERE, Process, Settings, Team, WorkerError, measure

SOURCE = HERE.parent if (HERE.parent / "fastnn").is_dir() else None     # None: an installed wheel


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """The options that every measuring command has."""
    p = argparse.ArgumentParser(prog=program, description=description)
    p.add_argument("--rows", nargs="+", default=[], metavar="PATTERN",
                   help="ids, their beginnings (matmul), patterns ('*-512'), groups (training)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=15, help="samples per row and library")
    p.add_argument("--quick", action="store_true", help="10 samples of 10 ms")
    p.add_argument("--isa", help="instruction set of fastnn and of the roof")
    return p


def settings_of(options: argparse.Namespace) -> Settings:
    if options.quick:
        return Settings(options.threads, 10, 0.01, options.isa)
    return Settings(options.threads, options.repeats, isa=options.isa)


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
        if OURS in team.missing:
            raise WorkerError(f"fastnn: {team.missing[OURS]}")
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


def main_run(arguments: list[str]) -> int:
    p = parser("python -m bench", "fastnn beside other libraries on this machine. "
               "Also: python -m bench report FILE ..., python -m bench compare OLD NEW.")
    p.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS, metavar="PEER",
                   help=f"of {', '.join(PEERS)}; without a name: fastnn alone")
    p.add_argument("--output", type=Path, default=Path("bench-results"), metavar="FOLDER",
                   help="where JSON and PNG go; default: bench-results")
    p.add_argument("--list", action="store_true", help="show the rows and end")
    options = p.parse_args(arguments)
    rows = select(options.rows)
    if options.list:
        for row in rows:
            print(f"{row.id:22} {row.group:10} {row.what}")
        return 0
    names = [n for n in ADAPTERS if n in (*NOT_PEERS, *options.peers)]
    result = run(rows, names, settings_of(options))
    report.print_table(result)
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{result['started'].replace(':', '')}-{result['commit'] or 'wheel'}"
    path = options.output / f"{name}.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"results {path}\npicture {chart.draw(result, path.with_suffix('.png'))}")
    return 130 if result.get("interrupted") else 0


def main_report(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench report",
                                description="Show a stored result again.")
    p.add_argument("file", type=Path, nargs="+",
                   help="JSON files that python -m bench wrote: runs of the same commit become one")
    p.add_argument("--png", type=Path, help="draw its picture here")
    p.add_argument("--markdown", action="store_true", help="print the table for a page")
    options = p.parse_args(arguments)
    result = report.merged([json.loads(f.read_text()) for f in options.file])
    if options.markdown:
        print(report.markdown(result))
    else:
        report.print_table(result)
    if options.png:
        print(f"picture {chart.draw(result, options.png)}")
    return 0


def main_compare(arguments: list[str]) -> int:
    p = parser("python -m bench compare", "Is NEW slower than OLD? If so, the exit status is 1.")
    p.add_argument("old", help="a commit, or the folder of a compiled source tree")
    p.add_argument("new", help="the same; . is this tree as it is")
    p.add_argument("--limit", type=float, default=100 * (compare.LIMIT - 1), metavar="PERCENT",
                   help="how much slower counts; default: 5")
    options = p.parse_args(arguments)
    rows, settings, limit = select(options.rows), settings_of(options), 1 + options.limit / 100
    with ExitStack() as stack:
        trees = {name: stack.enter_context(compare.built(version, SOURCE or Path.cwd()))
                 for name, version in ((compare.OLD, options.old), (compare.NEW, options.new))}
        print(compare.header(limit))
        failed = []
        for row in rows:
            def tick(text: str, row: Row = row) -> None:
                progress(f"{row.id}: {text}")

            c = compare.compare_row(lambda name: Process(OURS, settings, trees[name]), row,
                                    settings, limit, tick)
            progress("")
            print(compare.describe(c), flush=True)
            failed += [row.id] * c.failed
    print(f"{len(failed)} of {len(rows)} rows slower by more than {options.limit:g}% or broken"
          + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end: 0 fine, 1 slower (compare), 2 cannot, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {"report": main_report, "compare": main_compare}
    try:
        if arguments and arguments[0] in commands:
            sys.exit(commands[arguments[0]](arguments[1:]))
        sys.exit(main_run(arguments))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, WorkerError) as e:
        print(f"bench: {e}", file=sys.stderr)
        sys.exit(2)
