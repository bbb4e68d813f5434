"""A command in a terminal of its own, as a person runs it: what it says, and what is typed."""

import os
import pty
import subprocess
import threading

from harness.conditions import eventually
from harness.process import DIE_WITH_PARENT

CTRL_C = b"\x03"


class Dialogue:
    """stdin and stderr are the terminal; stdout is a pipe, so that results and talk can be told apart."""

    def __init__(self, command, env=None):
        self.command = [str(part) for part in command]
        self._own, theirs = pty.openpty()
        # A session of its own, whose terminal this is: what is typed as Ctrl-C is a SIGINT, by the kernel. Of a session of
        # ours the kernel would not send it.
        start = ["setsid", "--ctty", "--wait", *DIE_WITH_PARENT]
        self._process = subprocess.Popen(
            [*start, *self.command],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, **(env or {})},
        )
        os.close(theirs)
        self._said = b""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        try:
            while piece := os.read(self._own, 65_536):
                self._said += piece
        except OSError:
            # The other end was closed.
            pass

    @property
    def said(self):
        """What was written on the terminal so far; what was typed is in it."""
        return self._said.decode(errors="replace").replace("\r\n", "\n")

    def await_words(self, words, timeout=20.0):
        def there():
            assert words in self.said, f"$ {' '.join(self.command)}\n{self.said}"
            return True

        eventually(there, f"it says {words!r}", timeout)

    def type(self, text):
        os.write(self._own, text if isinstance(text, bytes) else text.encode())

    def end(self, timeout=60.0):
        """Waits for the end; returns (exit code, stdout)."""
        try:
            stdout, _ = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"$ {' '.join(self.command)}\ndid not end within {timeout} s:\n{self.said}") from None
        self._thread.join(timeout)
        os.close(self._own)
        return self._process.returncode, stdout.decode(errors="replace")
