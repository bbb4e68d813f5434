"""Commands in a pseudo-terminal, and a model of the screen that replays what they write."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from harness.process import DIE_WITH_PARENT

SEQUENCE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


class Screen:
    """What people see: knows line feeds, returns, wrapping, and the few sequences that `muster` uses; others fail."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [""]
        self.row = self.column = 0
        # What stood there each time before something was wiped.
        self.frames = []
        # Of each character that was ever written in a colour: the sequence's number.
        self.colours = set()

    def feed(self, text):
        position = 0
        while position < len(text):
            match = SEQUENCE.match(text, position)
            if match:
                self._sequence(match[2], match[1])
                position = match.end()
            else:
                assert text[position] != "\x1b", f"an unknown sequence: {text[position:position + 10]!r}"
                self._character(text[position])
                position += 1

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def _sequence(self, kind, number):
        if kind == "A":
            self.row -= int(number or 1)
            assert self.row >= 0, "the cursor left the screen"
        elif kind == "J":
            assert number in ("", "0")
            self.frames.append(self.text())
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        elif kind == "m":
            self.colours.add(int(number or 0))
        else:
            raise AssertionError(f"an unknown sequence: {number}{kind}")

    def _character(self, character):
        if character == "\n":
            self._down()
        elif character == "\r":
            self.column = 0
        else:
            if self.column == self.columns:
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")


class Shown:
    """A finished command, and what its terminal showed."""

    def __init__(self, command, code, written, columns):
        self.command, self.code, self.written = command, code, written
        self.screen = Screen(columns)
        self.screen.feed(written)
        self.frames = [*self.screen.frames, self.screen.text()]

    def __str__(self):
        return f"$ {' '.join(self.command)}\nexit code {self.code}\n{self.written!r}\n{self.screen.text()}"


class TerminalCommand:
    """Started at once, in a terminal of its own, with stdin, stdout and stderr on it."""

    def __init__(self, command, columns, rows=24, env=None):
        self.command = [str(part) for part in command]
        self.columns = columns
        self._rows = rows
        self._master, slave = pty.openpty()
        self._resize(columns)
        self._process = subprocess.Popen(
            DIE_WITH_PARENT + self.command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
            start_new_session=True,
        )
        os.close(slave)
        self._written = b""

    def _resize(self, columns):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self._rows, columns, 0, 0))

    @property
    def written(self):
        # The terminal turns "\n" into "\r\n".
        return self._written.decode(errors="replace").replace("\r\n", "\n\r")

    def read_until(self, condition, what, timeout=60.0):
        """Reads on until `condition(self)` holds; fails at the command's end, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition(self):
            assert self._read(deadline), f"not before the end of {' '.join(self.command)}: {what}\n{self.written!r}"

    def type(self, text):
        os.write(self._master, text.encode())

    def signal(self, number):
        self._process.send_signal(number)

    def end(self, timeout=60.0):
        """Reads to the command's end, which comes within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        code = self._process.wait(max(deadline - time.monotonic(), 1))
        os.close(self._master)
        return Shown(self.command, code, self.written, self.columns)

    def _read(self, deadline):
        """False once nothing more can come."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"{' '.join(self.command)} took too long; it wrote\n{self.written!r}")
            readable, _, _ = select.select([self._master], [], [], left)
            if not readable:
                continue
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # Linux says EIO when the last process has closed the other end.
                return False
            self._written += chunk
            return bool(chunk)
