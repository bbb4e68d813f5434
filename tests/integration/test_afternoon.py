"""The tutorial's afternoon once more, by a person at a terminal of 40 or of 120 columns."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from harness.cluster import binary, free_port
from harness.conditions import eventually
from harness.process import DIE_WITH_PARENT
from harness.terminal import TerminalCommand

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/docs"))
from pages import Page  # noqa: E402
from runner import commands_of, leaves_something_running, normal  # noqa: E402

TUTORIAL = ROOT / "docs/tutorial.md"
# A line of progress that was left behind, or one in the middle of which something else begins.
PROGRESS = re.compile(r"\d+%  ?\[|\bleft\w")


class Afternoon:
    """A directory as the page has it, and what was started and runs on."""

    def __init__(self, directory, columns):
        self.directory, self.columns = directory, columns
        self.work = directory / "work"
        for folder in (self.work, directory / "srv"):
            folder.mkdir()
        self.port = free_port()
        self.variables = {
            "MUSTER_SERVER": f"127.0.0.1:{self.port}", "PATH": f"{pathlib.Path(binary('muster')).parent}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8", "HOME": str(directory), "TERM": "xterm-256color",
        }  # fmt: skip
        self.jobs = []

    def real(self, text):
        return re.sub(r"(?<![\w.])/srv\b", f"{self.directory}/srv", text).replace(":7070", f":{self.port}")

    def shown(self, text):
        return text.replace(str(self.directory), "").replace(f":{self.port}", ":7070")

    def start(self, text):
        """What goes on: its number is that of the shell's job."""
        log = self.directory / f"job-{len(self.jobs) + 1}.log"
        with open(log, "wb") as out:
            command = [*DIE_WITH_PARENT, "bash", "-c", f"exec {self.real(text).rstrip('& ')}"]
            job = subprocess.Popen(command, cwd=self.work, env=self.variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.jobs.append((job, log))
        return log

    def stop(self, number):
        job, _ = self.jobs[number - 1]
        job.terminate()
        job.wait(timeout=20)

    def type(self, text):
        """At the terminal, but that nobody is there to be asked."""
        shell = ["env", "-C", str(self.work), "bash", "-c", f"{{ {self.real(text)}\n}} </dev/null"]
        return TerminalCommand(shell, self.columns, rows=60, env=self.variables).end(timeout=90)

    def close(self):
        for job, _ in self.jobs:
            job.kill()
            job.wait()


@pytest.fixture(name="afternoon", params=[40, 120])
def make_afternoon(request, tmp_path):
    afternoon = Afternoon(tmp_path, request.param)
    yield afternoon
    afternoon.close()


def pieces_of(expected):
    """What has to be there, in this order, however it wraps: the texts between the page's `…`."""
    for line in expected:
        for piece in normal(line).split("…"):
            yield from (part for part in re.split(r"ID|TIME(?: ago)?|USER GROUP|<node>|\bN\b", piece) if part.strip())


def assert_says(screen, expected, what):
    text = re.sub(r"\s", "", normal(screen))
    position = 0
    for piece in pieces_of(expected):
        wanted = re.sub(r"\s", "", piece)
        found = text.find(wanted, position)
        assert found >= 0, f"{what}\nlacks {piece!r}:\n{screen}"
        position = found + len(wanted)


@pytest.mark.limit(300)
def test_afternoon_at_a_terminal(afternoon):
    for command in commands_of(Page.read(TUTORIAL)):
        text = command.text.partition("  #")[0]
        stopped = re.match(r"kill %(\d)", text)
        if stopped:
            afternoon.stop(int(stopped[1]))
        elif text.startswith("export "):
            name, _, value = text.removeprefix("export ").partition("=")
            afternoon.variables[name] = afternoon.real(value)
        elif leaves_something_running(text):
            log = afternoon.start(text)

            def said(log=log, command=command):
                assert_says(afternoon.shown(log.read_text(errors="replace")), command.expected, command.text)
                return True

            eventually(said, command.text, 60)
        else:
            shown = afternoon.type(text)
            fails = any(line.startswith("muster: ") for line in command.expected or ())
            assert (shown.code != 0) == fails, str(shown)
            screen = afternoon.shown(shown.screen.text())
            assert not PROGRESS.search(screen), f"progress is left on the screen: {shown}"
            assert_says(screen, command.expected or (), str(shown))
