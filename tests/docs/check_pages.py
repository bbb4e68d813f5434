#!/usr/bin/env python3
"""Checks what needs no binary: that links lead somewhere, and that pages have their size.

Prints `file:line: rule: what` and fails at any finding.

Usage: check_pages.py [--root DIR]
Exit codes: 0 clean, 1 findings, 2 nothing to check (a wrong root must not look clean).
"""

import argparse
import collections
import pathlib
import re
import sys

from pages import Page, all_pages

FRONT_PAGE = "README.md"
FRONT_PAGE_LINES_MAX = 150
COLUMNS_MAX = 120

Finding = collections.namedtuple("Finding", "path line rule message")


def check_target(root, path, page, target):
    """Says what is wrong with a link of `path`; None where it leads somewhere."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None  # Another site's pages are not ours to check.
    name, _, anchor = target.partition("#")
    file = path if not name else (path.parent / name)
    if name.startswith("/"):
        return f"{target}: links are relative to the page"
    if not file.resolve().is_relative_to(root):
        return f"{target} leads out of the project"
    if not file.exists():
        return f"{target} leads nowhere"
    if not anchor:
        return None
    if file.suffix == ".md":
        there = page if not name else Page.read(file)
        return None if anchor in there.anchors() else f"{target}: no such heading"
    lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor)
    if file.is_file() and lines and int(lines.group(2) or lines.group(1)) <= file.read_bytes().count(b"\n"):
        return None
    return f"{target}: no such line"


def check_links(root, path, page):
    for link in page.links():
        problem = check_target(root, path, page, link.target)
        if problem:
            yield link.line, "link", problem


def check_size(name, page):
    """The front page is bounded in all of its lines; other pages of docs/ in their prose, as output and tables can't be wrapped."""
    if name == FRONT_PAGE and len(page.lines) > FRONT_PAGE_LINES_MAX:
        yield len(page.lines), "length", f"{len(page.lines)} lines; the front page has at most {FRONT_PAGE_LINES_MAX}"
    if name != FRONT_PAGE and not name.startswith("docs/"):
        return
    for number, line in enumerate(page.lines if name == FRONT_PAGE else page.prose, start=1):
        if len(line) > COLUMNS_MAX and (name == FRONT_PAGE or not line.startswith("|")):
            yield number, "columns", f"{len(line)} columns; the limit is {COLUMNS_MAX}"


def check_tree(root):
    """Returns (findings, number of pages seen)."""
    root = pathlib.Path(root).resolve()
    paths = all_pages(root)
    findings = []
    for path in paths:
        name, page = path.relative_to(root).as_posix(), Page.read(path)
        for line, rule, message in [*check_links(root, path, page), *check_size(name, page)]:
            findings.append(Finding(name, line, rule, message))
    return sorted(findings), len(paths)


def main():
    parser = argparse.ArgumentParser(description="Checks links and sizes of the project's pages.")
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2], help="the project's top folder")
    root = parser.parse_args().root
    findings, pages = check_tree(root)
    if not (pathlib.Path(root) / FRONT_PAGE).is_file():
        print(f"{root}: no {FRONT_PAGE} found; is this the project's top folder?", file=sys.stderr)
        return 2
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.message}")
    print(f"{pages} pages, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
