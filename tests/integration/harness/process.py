"""One child process with its output in a file."""

import os
import signal
import subprocess
import time

# Runs a command in the same process, which the kernel kills when its parent ends.
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]


class Process:
    """Started at once; ends with the test process at the latest."""

    def __init__(self, name, command, log_path, env=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log_path = log_path
        with open(log_path, "ab") as log:
            log.write(f"$ {' '.join(self.command)}\n".encode())
            log.flush()
            self._start = log.tell()
            self._process = subprocess.Popen(
                DIE_WITH_PARENT + self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self):
        return self._process.pid

    def running(self):
        return self._process.poll() is None

    @property
    def exit_code(self):
        return self._process.poll()

    def output(self):
        """What this process has written so far."""
        with open(self.log_path, "rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def wait(self, timeout):
        """Returns the exit code; a process that runs on is killed and fails the test."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout} s; its output:\n{self.output()}") from None

    def kill(self):
        """kill -9, and the process is gone when this returns."""
        if self.running():
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def signal(self, number):
        self._process.send_signal(number)

    def pause(self):
        """SIGSTOP: the process stands still, as under a hypervisor that does not schedule it."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, timeout=10.0):
        """SIGTERM; returns (exit code, seconds that it took)."""
        begin = time.monotonic()
        if self.running():
            self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout), time.monotonic() - begin

    def peak_resident_bytes(self):
        """The high-water mark of a process that still runs; 0 once it is gone."""
        return self._memory_bytes("VmHWM:")

    def resident_bytes(self):
        return self._memory_bytes("VmRSS:")

    def _memory_bytes(self, label):
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith(label):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return 0
