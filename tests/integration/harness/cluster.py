"""A server, agents and calls of `muster` below one temporary directory."""

import json
import os
import pathlib
import random
import socket
import subprocess

from harness.api import Api, ApiError
from harness.conditions import cannot_run, eventually
from harness.process import Process

COMMAND_TIMEOUT = 120.0
# Outside of what the kernel gives to outgoing connections, so that nothing takes a server's port while it is down.
PORTS = range(20_000, 32_000)


def binary(name):
    directory = os.environ.get("MUSTER_BIN_DIR")
    assert directory, "set MUSTER_BIN_DIR to the folder of musterd and muster, for instance build/release/bin"
    path = pathlib.Path(directory) / name
    assert path.exists(), f"{path} is missing: build it first"
    return str(path.resolve())


def preload(name):
    """The environment of a process that gets a library of tests/support before its others."""
    library = pathlib.Path(binary("musterd")).parents[1] / "tests" / f"lib{name}.so"
    if not library.exists():
        cannot_run(f"{library} is missing: build the target {name}")
    # The AddressSanitizer wants to be loaded first, where it is built in.
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}


def free_port():
    """A port that nobody listens on now, for servers that come back on their address."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Result:
    """A finished command."""

    def __init__(self, command, completed):
        self.command = command
        self.code = completed.returncode
        self.stdout = completed.stdout
        self.stderr = completed.stderr

    @property
    def text(self):
        return self.stdout + self.stderr

    def json(self):
        return json.loads(self.stdout)

    def __str__(self):
        return f"$ {' '.join(self.command)}\nexit code {self.code}\n{self.stdout}\n{self.stderr}"


# What agents and prefetches of tests may read: whatever a test puts anywhere. Rules have a test of their own.
ALLOWED = [
    "file:///", "http://", "https://", "s3://", "hdfs://", "swebhdfs://",
    *(f"{scheme}://{host}" for scheme in ("http", "https", "hdfs", "swebhdfs") for host in ("127.0.0.1", "localhost", "[::1]")),
]  # fmt: skip
os.environ.setdefault("MUSTER_ALLOW_LOCATION", ",".join(ALLOWED))


class Cluster:
    """Everything that it started is gone after close()."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.store = self.directory / "store"
        self.data_dir = self.directory / "data"
        self.logs = self.directory / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.server = None
        self.address = None
        # A host of harness/hosts.py that `muster` runs on; None: here.
        self.commands_on = None
        self.processes = []
        self._apis = []
        self._server_args = []

    # --- server

    def start_server(self, *args, listen=None, data_dir=None, wait=True, env=None, host=None, under=()):
        """Starts musterd on its earlier address, or on a free one; on a host of harness/hosts.py where one is given, and by the
        command `under`, such as prlimit."""
        listen = listen or self.address or f"127.0.0.1:{free_port()}"
        address_file = self.directory / "address"
        address_file.unlink(missing_ok=True)
        self._server_args = args or self._server_args
        self.server = self.spawn(
            "musterd",
            [*under, binary("musterd"), "--data-dir", data_dir or self.data_dir, "--listen", listen]
            + ["--address-file", address_file, *self._server_args],
            env=env,
            host=host,
        )
        if wait:

            def serving():
                assert self.server.running(), f"musterd ended with {self.server.exit_code}:\n{self.server.output()}"
                return address_file.exists()

            eventually(serving, "musterd serves")
            self.address = address_file.read_text(encoding="ascii").strip()
        return self.server

    def kill_server(self):
        self.server.kill()

    def api(self, address=None, credentials=None):
        """A gRPC client of the server's address, or of another one; one channel each."""
        api = Api(address or self.address, credentials)
        self._apis.append(api)
        return api

    # --- processes

    def spawn(self, name, command, env=None, host=None):
        if host is not None:
            command = host.command(command)
        process = Process(name, command, self.logs / f"{name}.log", env)
        self.processes.append(process)
        return process

    def cache(self, node):
        return self.directory / f"cache-{node}"

    def start_agent(self, node, assembly, *args, cache=None, server=None, name=None, host=None):
        return self.spawn(
            name or f"agent-{node}",
            self.muster_command("agent", "--node", node, "--assembly", assembly, server=server)
            + ["--cache", str(cache or self.cache(node)), *map(str, args)],
            host=host,
        )

    def start_agents(self, count, assembly, *args):
        return [self.start_agent(f"n{i}", assembly, *args) for i in range(1, count + 1)]

    # --- the muster command

    def muster_command(self, *args, server=None):
        words = [str(arg) for arg in args]
        return [binary("muster"), *words, "--server", server or self.address or "127.0.0.1:1"]

    def muster(self, *args, server=None, timeout=COMMAND_TIMEOUT, check=True, env=None):
        """Runs `muster` to its end; with `check` a non-zero exit code fails the test."""
        command = self.muster_command(*args, server=server)
        if self.commands_on is not None:
            command = self.commands_on.command(command)
        completed = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
        result = Result(command, completed)
        with open(self.logs / "muster.log", "a", encoding="utf-8") as log:
            log.write(f"{result}\n")
        assert not check or result.code == 0, str(result)
        return result

    def spawn_muster(self, name, *args, server=None):
        return self.spawn(name, self.muster_command(*args, server=server))

    def publish(self, source, model, *args, strategy="layer", shards=4, **kwargs):
        return self.muster(
            "publish", source, "--model", model, "--to", f"file://{self.store}", "--strategy", strategy,
            "--shards", shards, *args, **kwargs,
        )  # fmt: skip

    def create_assembly(self, name, model, *args, policy="balanced", min_nodes=1, **kwargs):
        return self.muster(
            "assemblies", "create", name, "--model", model, "--policy", policy, "--min-nodes", min_nodes, *args, **kwargs
        )

    def allow_nodes(self, name, min_nodes):
        """For a test that goes on with fewer nodes than the first plan waited for: READY needs that many."""
        self.muster("assemblies", "update", name, "--min-nodes", min_nodes)

    def await_assembly(self, name):
        """For an assembly that an agent creates: `muster wait` refuses to wait for one that is not there."""
        api = self.api()

        def there():
            try:
                return api.assembly(name)
            except ApiError:
                return None

        eventually(there, f"assembly {name} is created")

    def wait_ready(self, assembly, *args, timeout=60, **kwargs):
        return self.muster("wait", assembly, "--timeout", f"{timeout}s", *args, **kwargs)

    # --- end

    def show_logs(self):
        """The ends of all logs, for a failed test."""
        parts = []
        for log in sorted(self.logs.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            parts.append("\n".join([f"--- {log.name}", *lines[-40:]]))
        return "\n".join(parts)

    def close(self):
        for api in self._apis:
            api.close()
        for process in reversed(self.processes):
            process.kill()
