"""The servers that are measured: real processes on free loopback ports, with their data on a real disk."""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

# Runs a command in the same process, which the kernel kills when its parent ends.
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]
START_TIMEOUT_S = 60.0


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def await_true(condition, what, timeout=START_TIMEOUT_S, interval=0.005):
    """Returns the first true value of `condition()`."""
    limit = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise RuntimeError(f"{what}: not within {timeout:.0f} s")
        time.sleep(interval)


class Server:
    """A running process with an address."""

    def __init__(self, name, process, address=None):
        self.name = name
        self.process = process
        self.address = address

    @property
    def pid(self):
        return self.process.pid

    @property
    def target(self):
        """As the load generators take it."""
        return f"{self.address}/{self.pid}"

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def terminate(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Bench:
    """Programs, a directory for data, and the processes that run; all is gone after close()."""

    def __init__(self, bin_dir, work_dir):
        self.bin = pathlib.Path(bin_dir).resolve()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="muster-bench-", dir=work_dir))
        self._processes = []

    def spawn(self, name, command, stdin=subprocess.DEVNULL, stdout=None):
        with open(self.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                DIE_WITH_PARENT + [str(part) for part in command],
                stdin=stdin,
                stdout=stdout or log,
                stderr=log,
                text=True,
            )
        self._processes.append(process)
        return process

    def start_musterd(self, name, *args):
        """On `name`'s own data directory, which a second start finds as it was left."""
        address_file = self.directory / f"{name}.address"
        address_file.unlink(missing_ok=True)
        command = [self.bin / "bin" / "musterd", "--data-dir", self.directory / name, "--listen", "127.0.0.1:0"]
        server = Server(name, self.spawn(name, command + ["--address-file", address_file, *args]))

        def serving():
            if server.process.poll() is not None:
                raise RuntimeError(f"musterd ended: {(self.directory / f'{name}.log').read_text()[-2000:]}")
            return address_file.exists()

        await_true(serving, "musterd serves", interval=0.001)
        server.address = address_file.read_text(encoding="ascii").strip()
        return server

    def start_empty_server(self):
        process = self.spawn(
            "empty", [self.bin / "bench" / "empty_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return Server("empty", process, process.stdout.readline().strip())

    def start_etcd(self, name):
        """One member, with its defaults but for the addresses and room for the benchmark's data."""
        if shutil.which("etcd") is None:
            raise RuntimeError("etcd is not installed")
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        process = self.spawn(
            name,
            ["etcd", "--data-dir", self.directory / name, "--log-level", "error", "--name", "bench"]
            + ["--listen-client-urls", client, "--advertise-client-urls", client]
            + ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            + ["--initial-cluster", f"bench={peer}", "--quota-backend-bytes", str(8 << 30)],
        )
        address = client.removeprefix("http://")
        host, port = address.split(":")

        def listening():
            if process.poll() is not None:
                raise RuntimeError(f"etcd ended: {(self.directory / f'{name}.log').read_text()[-2000:]}")
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        await_true(listening, "etcd serves")
        return Server(name, process, address)

    def run(self, name, command, timeout):
        """Runs a program to its end and returns what it printed."""
        completed = subprocess.run(
            DIE_WITH_PARENT + [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if completed.returncode != 0:
            raise RuntimeError(f"{name} ended with {completed.returncode}: {completed.stderr.strip()[-500:]}")
        return completed.stdout

    def close(self):
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
