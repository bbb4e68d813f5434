"""Runs the blocks of a page that are marked for it, and compares what they print with what the page shows.

A comment `<!-- run -->` marks the next block: its `$ ` lines are commands, the lines after each are its output. A comment
`<!-- prepare` followed by `$ ` lines holds commands that the page need not show. All of a page run in one shell, in the page's
order, in a directory of their own:

- /srv and /etc/muster are folders below that directory, and the server's port 7070 is a free one.
- `…` stands for any text within a line; as a line of its own for any lines. What varies from run to run is made alike on both
  sides first (_VARIES); what `muster wait` says on its way is left out, as it depends on when it looks.
- A command succeeds, unless the page shows an error (a line `muster: …` or `ERROR:`): then it fails.
- A command that leaves something running (`&`) is not waited for, but for the output that the page shows, which may go on.
"""

import collections
import difflib
import itertools
import os
import pathlib
import re
import select
import signal
import subprocess
import time

from harness.cluster import binary, free_port
from harness.process import DIE_WITH_PARENT
from pages import Page

COMMAND_TIMEOUT = 120.0
POLL_SECONDS = 0.05
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHOWN_PORT = 7070
SHOWN_FOLDERS = ("/srv", "/etc/muster")

# `expected` is None where the output does not matter.
Command = collections.namedtuple("Command", "line text expected")
Finding = collections.namedtuple("Finding", "line message")

# What one run prints otherwise than another: (what, how it is written instead).
_VARIES = (
    # Ids that the server gives: of a cluster and a revision.
    (r"\b[0-9a-f]{12}-\d+\b", "ID"),
    # Revisions, epochs and generations: how many reports came before.
    (r'("(?:revision|epoch|generation)": )"\d+"', r'\1"N"'),
    (r'("history_id": )"[0-9a-f]{32}"', r'\1"ID"'),
    # Times: of the day, of a file, how long something took.
    (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b\d\d:\d\d:\d\d\.\d\b", "TIME"),
    (r"\b[A-Z][a-z]{2} [ \d]\d (?:\d\d:\d\d| \d{4})", "TIME"),
    (r"\bin (?:\d+ min )?\d+ s\b", "in TIME"),
    (r"\b(?:\d+ min )?\d+ s ago\b", "TIME ago"),
    (r"\bgave up after \d+ attempts?\b", "gave up after N attempts"),
    # Who ran `ls -l`.
    (r"^([-dl](?:[-r][-w][-x]){3} +\d+) \S+ \S+", r"\1 USER GROUP"),
    # Columns are as wide as what they hold.
    (r"\s+", " "),
    # Which of the nodes n1, n2, … got what: the order in which they joined.
    (r"^n\d (?=\S)", "<node> "),
    (r'("node": )"nodes/n\d"', r'\1"<node>"'),
)
_ON_ITS_WAY = re.compile(r"\S+ (?:WAITING|LOADING|DEGRADED): ")


class BadPage(Exception):
    """Marks that say nothing that can be run."""

    def __init__(self, line, message):
        super().__init__(message)
        self.finding = Finding(line, message)


def commands_of(page):
    """The commands of a page that are to be run, in its order."""
    commands = []
    for comment in page.comments:
        words = comment.text.split()
        if words[:1] == ["prepare"]:
            prepared = _parse(comment.line, comment.text.splitlines())
            commands += [command._replace(expected=None) for command in prepared]
        elif words == ["run"]:
            block = next((block for block in page.blocks if block.line > comment.line), None)
            parsed = _parse(block.line, block.lines) if block else []
            if not parsed:
                raise BadPage(comment.line, "no command follows the mark")
            commands += parsed
    return commands


def _parse(first_line, lines):
    commands, number = [], 0
    while number < len(lines):
        line, text = first_line + number, lines[number]
        number += 1
        if not text.startswith("$ "):
            if commands:
                commands[-1].expected.append(text)
            continue
        while text.endswith("\\") and number < len(lines):
            text += "\n" + lines[number]
            number += 1
        commands.append(Command(line, text[2:], []))
    for command in commands:
        while command.expected and not command.expected[-1].strip():
            command.expected.pop()
    return commands


def leaves_something_running(text):
    return re.search(r"(?<!&)&(?=\s*(?:$|done\b|#))", text) is not None


def normal(line):
    for pattern, instead in _VARIES:
        line = re.sub(pattern, instead, line)
    return line.strip()


def _lines(lines):
    kept = [line for line in map(normal, lines) if not _ON_ITS_WAY.match(line)]
    in_order = []
    # The rows of a table of nodes, of which no name is left, in an order of their own.
    for is_row, rows in itertools.groupby(kept, key=lambda line: line.startswith("<node> ")):
        in_order += sorted(rows) if is_row else rows
    return in_order


def matches(expected, actual, may_go_on=False):
    """Whether lines of output are those that a page shows."""
    pattern = ""
    for line in _lines(expected):
        any_text = ".*".join(map(re.escape, line.split("…")))
        pattern += r"(?:.*\n)*?" if line == "…" else any_text + r"\n"
    if may_go_on:
        pattern += r"(?:.*\n)*"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(actual))) is not None


class Shell:
    """A bash that runs one command after the other; what it started ends with close()."""

    def __init__(self, directory, timeout=COMMAND_TIMEOUT):
        self.directory = pathlib.Path(directory)
        self.timeout = timeout
        self._count = 0
        self.port = free_port()
        for folder in ("work", "bin", "out", *(name.strip("/") for name in SHOWN_FOLDERS)):
            (self.directory / folder).mkdir(parents=True)
        self._make_programs()
        self._codes, write_end = os.pipe()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
        environment |= {
            "PATH": f"{self.directory}/bin:{environment['PATH']}", "MUSTER_SERVER": f"127.0.0.1:{self.port}",
            "MUSTER_BIN_DIR": os.environ.get("MUSTER_BIN_DIR", ""), "LC_ALL": "C.UTF-8", "EXAMPLES": str(ROOT / "examples"),
        }  # fmt: skip
        with open(self.directory / "out/shell", "wb") as log:
            self._bash = subprocess.Popen(
                [*DIE_WITH_PARENT, "bash", "--norc"], cwd=self.directory / "work", env=environment, stdin=subprocess.PIPE,
                stdout=log, stderr=log, pass_fds=[write_end], start_new_session=True,
            )  # fmt: skip
        self._write_end = write_end

    def _make_programs(self):
        """What pages call by name. Programs of ours end with the shell, also when the test is killed."""
        die_with_shell = "exec setpriv --pdeathsig KILL --"
        programs = {"make-source": f"exec {ROOT}/build/venv/bin/python -B {HERE}/make_source.py"}
        if os.environ.get("MUSTER_BIN_DIR"):
            programs |= {name: f"{die_with_shell} {binary(name)}" for name in ("muster", "musterd")}
        programs["grpcurl"] = f"exec {os.environ.get('GRPCURL', ROOT / 'build/tools/grpcurl')}"
        for name, command in programs.items():
            path = self.directory / "bin" / name
            path.write_text(f'#!/bin/sh\n{command} "$@"\n', encoding="utf-8")
            path.chmod(0o755)

    def real(self, text):
        """A command of a page with this shell's folders and port."""
        for folder in SHOWN_FOLDERS:
            text = re.sub(rf"(?<![\w.]){folder}\b", f"{self.directory}{folder}", text)
        return re.sub(rf":{SHOWN_PORT}\b", f":{self.port}", text)

    def shown(self, output):
        """Output as a page shows it."""
        return output.replace(str(self.directory), "").replace(f":{self.port}", f":{SHOWN_PORT}")

    def start(self, text):
        """Runs a command to its end, but for what it leaves running. Returns (exit code, the file that gets its output)."""
        self._count += 1
        out = self.directory / "out" / str(self._count)
        script = f"{{ {self.real(text)}\n}} >'{out}' 2>&1 </dev/null\necho $? >&{self._write_end}\n"
        self._bash.stdin.write(script.encode())
        self._bash.stdin.flush()
        ready, _, _ = select.select([self._codes], [], [], self.timeout)
        code = int(os.read(self._codes, 64)) if ready else None
        return code, out

    def read(self, out):
        return self.shown(out.read_text(encoding="utf-8", errors="replace")).splitlines() if out.exists() else []

    def close(self):
        try:
            os.killpg(self._bash.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._bash.wait()
        self._bash.stdin.close()
        os.close(self._codes)
        os.close(self._write_end)


def _difference(expected, actual):
    lines = difflib.unified_diff(_lines(expected), _lines(actual), "the page", "this run", lineterm="")
    return "\n".join(lines)


def _run_one(shell, command):
    """Says what is wrong; None where nothing is."""
    code, out = shell.start(command.text)
    if code is None:
        return f"did not end within {shell.timeout:g} s:\n" + "\n".join(shell.read(out))
    expected = command.expected
    if leaves_something_running(command.text):
        deadline = time.monotonic() + shell.timeout
        while not matches(expected or [], shell.read(out), may_go_on=True):
            if time.monotonic() >= deadline:
                return f"the output is another one after {shell.timeout:g} s:\n" + _difference(expected, shell.read(out))
            time.sleep(POLL_SECONDS)
        return None
    fails = any(line.startswith(("muster: ", "ERROR:")) for line in expected or [])
    if (code != 0) != fails:
        return f"ended with {code}:\n" + "\n".join(shell.read(out))
    if expected is not None and not matches(expected, shell.read(out)):
        return "the output is another one:\n" + _difference(expected, shell.read(out))
    return None


def run_page(path, directory, timeout=COMMAND_TIMEOUT):
    """Runs a page in an empty directory; returns its findings, after the first of which nothing is run."""
    try:
        commands = commands_of(Page.read(path))
    except BadPage as bad:
        return [bad.finding]
    shell = Shell(directory, timeout)
    try:
        for command in commands:
            problem = _run_one(shell, command)
            if problem:
                return [Finding(command.line, f"$ {command.text}\n{problem}")]
    finally:
        shell.close()
    return []
