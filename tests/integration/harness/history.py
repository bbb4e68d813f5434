"""Histories of calls on single resources, recorded from concurrent clients, for tests/integration/linearize.

A client is a thread with a channel of its own, one call after the other. What it was told is written down with the
times of begin and end; a call whose outcome is unknown (the server died, or the reply was lost) stays open.
"""

import json
import pathlib
import random
import subprocess
import threading
import time

from harness.api import ApiError, assembly_pb2, model_pb2
from harness.conditions import POLL_SECONDS

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHECKER = ROOT / "build/tools/linearize"
UNKNOWN = ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED")
READS = ("get", "status", "heartbeat")
LEASE = {"seconds": 3600}


class Recorder:
    """One history. Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self.entries = []

    def call(self, client, model, key, op, function, told, given=None):
        """Makes one call and records it; returns what `told` makes of the response, or None."""
        begin = time.monotonic_ns()
        try:
            out = told(function())
        except ApiError as error:
            if error.code.name in UNKNOWN:
                out = None
            else:
                out = {"error": error.reason}
                if "present_epoch" in error.metadata:
                    out["epoch"] = int(error.metadata["present_epoch"])
        entry = {"model": model, "key": key, "client": client, "op": op, "in": given or {}}
        entry.update({"call": begin, "return": time.monotonic_ns()})
        if out is not None:
            entry["out"] = out
        elif op in READS:
            # Neither changed nor returned anything.
            return None
        with self._lock:
            self.entries.append(entry)
        return out


def uid_number(uid):
    """The part of a uid that grows."""
    return int(uid.rpartition("-")[2])


class Client(threading.Thread):
    """Calls at random on a few resources until it is told to stop."""

    def __init__(self, api, recorder, number, keys, seed):
        super().__init__(name=f"client-{number}", daemon=True)
        self.api, self.recorder, self.number, self.keys = api, recorder, number, keys
        self.random = random.Random(seed)
        self.stopped = threading.Event()
        self.problem = None
        # The newest epoch that this client knows, by node.
        self.epochs = {}

    def run(self):
        actions = [self._node, self._version, self._shard]
        try:
            while not self.stopped.is_set():
                self.random.choice(actions)(self.random.choice(self.keys))
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.problem = error

    def stop(self):
        self.stopped.set()
        self.join(60)
        assert not self.is_alive(), f"{self.name} hangs"
        if self.problem:
            raise self.problem

    def _call(self, model, key, op, function, told, given=None):
        out = self.recorder.call(self.number, model, key, op, function, told, given)
        if out is None:
            self._await_server()
        return out or {}

    def _await_server(self):
        """A call to a server that is down leaves an open interval each; too many of them hide everything."""
        while not self.stopped.wait(POLL_SECONDS):
            try:
                self.api.nodes.ListNodes(page_size=1)
                return
            except ApiError:
                continue

    def _epoch(self, node, out):
        if "epoch" in out:
            self.epochs[node] = out["epoch"]

    def _node(self, key):
        nodes, name = self.api.nodes, f"nodes/{key}"
        op = self.random.choice(["register", "get", "get", "deregister", "heartbeat", "heartbeat"])
        epoch = self.epochs.get(name, 1)
        if op == "register":
            out = self._call(
                "node", name, op, lambda: nodes.RegisterNode(node={"name": name}, lease_ttl=LEASE),
                lambda reply: {"epoch": reply.epoch},
            )  # fmt: skip
        elif op == "get":
            out = self._call("node", name, op, lambda: nodes.GetNode(name=name), lambda reply: {"epoch": reply.node.epoch})
        elif op == "deregister":
            call = lambda: nodes.DeregisterNode(name=name, epoch=epoch)  # noqa: E731
            out = self._call("node", name, op, call, lambda _: {}, {"epoch": epoch})
        else:
            call = lambda: nodes.Heartbeat(name=name, epoch=epoch)  # noqa: E731
            out = self._call("node", name, op, call, lambda _: {}, {"epoch": epoch})
        self._epoch(name, out)

    def _version(self, key):
        models, name = self.api.models, f"models/{key}/versions/v"
        op = self.random.choice(["create", "add", "commit", "delete", "get", "get"])
        shard = {"index": 0, "size_bytes": 1, "md5": "a" * 32, "locations": [{"uri": "file:///a"}]}

        def seen(reply):
            version = reply.model_version
            state = model_pb2.ModelVersion.State.Name(version.state)
            return {"uid": uid_number(version.uid), "state": state, "shards": version.shards_added}

        calls = {
            "create": lambda: models.CreateModelVersion(model_version={"name": name, "shard_count": 1}),
            "add": lambda: models.AddShards(name=name, shards=[shard]),
            "commit": lambda: models.CommitModelVersion(name=name),
            "delete": lambda: models.DeleteModelVersion(name=name),
            "get": lambda: models.GetModelVersion(name=name),
        }
        tell = {"create": lambda reply: {"uid": uid_number(reply.model_version.uid)}, "get": seen}
        self._call("version", name, op, calls[op], tell.get(op, lambda _: {}))

    def _shard(self, key):
        node, assembly = f"nodes/holder-{key}", f"assemblies/{key}"
        op = self.random.choice(["status", "status", "report", "report", "report", "register"])
        if op == "status":
            self._call(
                "shard", assembly, op, lambda: self.api.assemblies.GetShardStatus(name=assembly, shard=0),
                lambda reply: {"state": assembly_pb2.ShardReport.State.Name(reply.replicas[0].state)},
            )  # fmt: skip
            return
        if op == "register" or node not in self.epochs:
            if self.random.random() < 0.8 and node in self.epochs:
                return
            call = lambda: self.api.nodes.RegisterNode(node={"name": node}, lease_ttl=LEASE)  # noqa: E731
            self._epoch(node, self._call("shard", assembly, "register", call, lambda reply: {"epoch": reply.epoch}))
            return
        epoch, state = self.epochs[node], self.random.choice(["FETCHING", "READY", "FAILED"])
        report = {"shard": 0, "generation": self.keys.generations[key], "state": state}
        out = self._call(
            "shard", assembly, op,
            lambda: self.api.assemblies.ReportShards(node=node, epoch=epoch, assembly=assembly, reports=[report]),
            lambda _: {}, {"epoch": epoch, "state": state},
        )  # fmt: skip
        self._epoch(node, out)


def check(entries, path):
    """Runs the checker on a history; returns (linearizable, what it said)."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    done = subprocess.run([str(CHECKER), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.returncode == 0, done.stdout
