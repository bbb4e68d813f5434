"""Hosts on one network: namespaces with a switch between them, whose cables can be pulled.

Needs root and a kernel that makes network namespaces, bridges and veth pairs. Nothing outside of the namespaces changes.
"""

import os
import shutil
import socket
import subprocess
import sys

import pytest
from harness.conditions import cannot_run, eventually

# Documentation addresses (TEST-NET-2).
SUBNET = "198.51.100"

# Runs inside a namespace: what connects to the socket in the file system talks to a port there.
_FORWARD = """
import asyncio, sys
path, port = sys.argv[1], int(sys.argv[2])
async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def serve(reader, writer):
    try:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return writer.close()
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))
async def main():
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def _probe():
    """Why this machine can't have such hosts; None where it can. Tried in a namespace of its own."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the command ip is missing: install iproute2"
    script = (
        "ip link add name muster-sw type bridge && ip link add name muster-a type veth peer name muster-b"
        " && ip link set muster-b master muster-sw"
    )
    try:
        _run("unshare", "--net", "sh", "-c", script)
        probe = f"muster-{os.getpid()}-probe"
        _run("ip", "netns", "add", probe)
        _run("ip", "netns", "del", probe)
    except (RuntimeError, FileNotFoundError) as error:
        return f"this machine makes no network namespaces with a bridge: {error}"
    return None


def _answers(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class Host:
    def __init__(self, hosts, name, number):
        self._hosts, self.name, self.number = hosts, name, number
        self.namespace = f"{hosts.prefix}-{name}"
        self.address = f"{SUBNET}.{number}"
        # The switch's end of the cable.
        self.port = f"p{number}"

    def command(self, command):
        """The command, to be run on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def cut(self):
        """Pulls the cable at the switch: packets vanish, and nobody is notified."""
        _run("ip", "-n", self._hosts.switch, "link", "set", self.port, "down")

    def heal(self):
        _run("ip", "-n", self._hosts.switch, "link", "set", self.port, "up")

    def drop_to(self, other):
        """What this host sends to the other one vanishes; the other way is open."""
        _run("ip", "-n", self.namespace, "route", "add", "blackhole", f"{other.address}/32")

    def reach(self, other):
        """Ends drop_to."""
        _run("ip", "-n", self.namespace, "route", "del", "blackhole", f"{other.address}/32")

    def forward(self, cluster, port):
        """An address for gRPC that leads from this test to a port of the host."""
        path = cluster.directory / f"{self.name}.sock"
        cluster.spawn(f"forward-{self.name}", [sys.executable, "-c", _FORWARD, path, port], host=self)
        eventually(lambda: _answers(path), f"the way to {self.name} is open", timeout=60)
        return f"unix:{path}"


class Hosts:
    """Made by the fixture `hosts`. Hosts are found by name: hosts["a"]."""

    def __init__(self, names):
        reason = _probe()
        if reason is not None:
            # What the kernel does not do can't be tested, on CI neither. Everything else has to work.
            if "makes no network namespaces" in reason:
                pytest.skip(reason)
            cannot_run(reason)
        # Namespaces have names in one place for the whole machine.
        self.prefix = f"muster-{os.getpid()}"
        self.switch = f"{self.prefix}-switch"
        self._namespaces = []
        self._hosts = {name: Host(self, name, number) for number, name in enumerate(names, 1)}
        try:
            self._make()
        except RuntimeError:
            self.close()
            raise

    def __getitem__(self, name):
        return self._hosts[name]

    def _add(self, namespace):
        _run("ip", "netns", "add", namespace)
        self._namespaces.append(namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")

    def _make(self):
        self._add(self.switch)
        _run("ip", "-n", self.switch, "link", "add", "name", "switch", "type", "bridge")
        _run("ip", "-n", self.switch, "link", "set", "switch", "up")
        for host in self._hosts.values():
            self._add(host.namespace)
            _run("ip", "-n", self.switch, "link", "add", "name", host.port, "type", "veth",
                 "peer", "name", "eth0", "netns", host.namespace)  # fmt: skip
            _run("ip", "-n", self.switch, "link", "set", host.port, "master", "switch", "up")
            _run("ip", "-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _run("ip", "-n", host.namespace, "link", "set", "eth0", "up")

    def close(self):
        for namespace in reversed(self._namespaces):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
        self._namespaces = []
