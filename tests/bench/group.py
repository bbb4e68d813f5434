"""A group of benchmarks: its command line, its parts one after the other, and its table."""

import argparse
import pathlib
import sys
import tempfile
import time

import report
from servers import Bench

TMPFS = {"tmpfs", "ramfs"}


class Settings:
    """How much is done."""

    def __init__(self, quick):
        self.quick = quick


def _arguments(description, parts):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bin-dir", required=True, help="the build's directory")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work-dir", default=None, help="where the servers' data goes")
    parser.add_argument("--only", default=",".join(parts), help="parts of the group")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    unknown = set(arguments.only) - set(parts)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    return arguments


def run(description, parts, make_settings, never_measured=()):
    """`parts`: name -> (what measures and returns rows, the (name, unit, aim) of rows that it promises). Returns the exit code."""
    arguments = _arguments(description, parts)
    settings = make_settings(arguments.quick)
    work_dir = arguments.work_dir or tempfile.gettempdir().replace("/tmp", "/var/tmp", 1)
    facts = report.machine(work_dir)
    print(report.machine_line(facts), flush=True)
    if facts["file_system"] in TMPFS:
        print(f"{work_dir} is in memory, where fsync is free: name a real disk with --work-dir", file=sys.stderr)
        return 1
    rows, broke = [], False
    begin = time.monotonic()
    for name in arguments.only:
        measure, promised = parts[name]
        bench = Bench(arguments.bin_dir, work_dir)
        try:
            rows += measure(bench, settings)
        except Exception as error:  # pylint: disable=broad-except
            broke = True
            rows += [report.not_measured(*what, f"broke: {error}") for what in promised]
        finally:
            bench.close()
        print(f"[{time.monotonic() - begin:4.0f}s] {name} done", file=sys.stderr, flush=True)
    rows += [report.not_measured(*what) for what in never_measured]
    report.publish(rows, facts, settings.quick, arguments.json)
    return 1 if broke else 0
