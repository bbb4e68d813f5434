#!/usr/bin/env python3
"""Prints how long the last run of tests/run.sh took, for README.md: per label, and its ten slowest ctests.

Usage: times.py [BUILD]     BUILD: build/release without it, where run.sh has left ctest.xml
"""

import collections
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

SLOWEST = 10


def labels_of(build):
    """By the name of the ctest."""
    shown = subprocess.run(
        ["ctest", "--test-dir", str(build), "--show-only=json-v1"], capture_output=True, text=True, check=True
    ).stdout
    labels = {}
    for test in json.loads(shown)["tests"]:
        named = [one["value"] for one in test.get("properties", []) if one["name"] == "LABELS"]
        labels[test["name"]] = ", ".join(named[0]) if named else "none"
    return labels


def table(head, rows):
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print()


def main(build):
    report = build / "ctest.xml"
    if not report.is_file():
        sys.exit(f"times: {report} is missing; run tests/run.sh, or ctest with --output-junit ctest.xml")
    labels = labels_of(build)
    cases = [(float(case.get("time")), case.get("name")) for case in xml.etree.ElementTree.parse(report).iter("testcase")]
    seconds, counts = collections.Counter(), collections.Counter()
    for time, name in cases:
        seconds[labels.get(name, "none")] += time
        counts[labels.get(name, "none")] += 1
    table(("label", "ctests", "seconds, one after the other"), [(k, counts[k], round(s)) for k, s in seconds.most_common()])
    slowest = sorted(cases, reverse=True)[:SLOWEST]
    table(("slowest", "label", "seconds"), [(f"`{name}`", labels.get(name, "none"), round(time)) for time, name in slowest])


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1] / "build/release"))
