"""Each resource behaves as if its calls came one after the other, also over kill -9 (invariant 1, docs/design.md).

Recorded from real processes; judged by build/tools/linearize (tests/integration/linearize). The corrupted histories show
that the judge can say no.
"""

import copy
import random
import threading

import pytest
from harness.api import ApiError
from harness.cluster import Cluster
from harness.conditions import cannot_run, eventually
from harness.history import CHECKER, LEASE, Client, Recorder, check

CLIENTS = 4
ROUNDS = 8
# Before the kill and after it.
SECONDS = 0.6


@pytest.fixture(autouse=True)
def checker():
    if not CHECKER.exists():
        cannot_run(f"{CHECKER} is missing: run tests/setup_tools.sh")


class Keys(list):
    """Names of resources that are used together, with what the reports about them quote."""

    def __init__(self, api, prefix, count=2):
        super().__init__(f"{prefix}-{i}" for i in range(count))
        self.generations = {key: self._assemble(api, key) for key in self}

    @staticmethod
    def _assemble(api, key):
        version, node, assembly = f"models/{key}-shard/versions/v", f"nodes/holder-{key}", f"assemblies/{key}"
        shard = {"index": 0, "size_bytes": 1, "md5": "a" * 32, "locations": [{"uri": "file:///a"}]}
        api.models.CreateModelVersion(model_version={"name": version, "shard_count": 1})
        api.models.AddShards(name=version, shards=[shard])
        api.models.CommitModelVersion(name=version)
        epoch = api.nodes.RegisterNode(node={"name": node}, lease_ttl=LEASE).epoch
        api.assemblies.CreateAssembly(assembly={"name": assembly, "model_version": version, "policy": "FULL"})
        api.assemblies.JoinAssembly(name=assembly, node=node, epoch=epoch, claim={"kind": "ALL"})

        def generation():
            replicas = api.assemblies.GetShardStatus(name=assembly, shard=0).replicas
            return replicas[0].generation if replicas else 0

        return eventually(generation, f"{assembly} has a plan")


def served(api):
    try:
        api.nodes.ListNodes()
        return True
    except ApiError:
        return False


def record(cluster, rounds, seed, kill):
    """Clients at work; with `kill` the server dies under them once a round, at a random moment."""
    recorder, api, chance = Recorder(), cluster.api(), random.Random(seed)
    for number in range(rounds):
        eventually(lambda: served(api), "the server serves")
        keys = Keys(api, f"r{number}")
        clients = [Client(cluster.api(), recorder, i, keys, f"{seed}-{number}-{i}") for i in range(CLIENTS)]
        for client in clients:
            client.start()
        if kill:
            threading.Event().wait(chance.uniform(0, SECONDS))
            cluster.server.kill()
            cluster.start_server()
        threading.Event().wait(SECONDS)
        for client in clients:
            client.stop()
    return recorder.entries


@pytest.mark.limit(300)
def test_histories_over_kills_are_linearizable(cluster, tmp_path, repetition):
    entries = record(cluster, ROUNDS, repetition, kill=True)

    good, said = check(entries, tmp_path / "history.jsonl")

    assert good, said
    answered = sum("out" in entry for entry in entries)
    assert answered > 100 * ROUNDS, f"only {answered} calls were answered"
    assert answered < len(entries), "no kill hit a call"


@pytest.fixture(name="history", scope="module")
def make_history(tmp_path_factory):
    """A history without kills, made once for all that corrupt a copy of it."""
    cluster = Cluster(tmp_path_factory.mktemp("history"))
    try:
        cluster.start_server()
        return record(cluster, 1, 1, kill=False)
    finally:
        cluster.close()


def test_uncorrupted_history_passes(history, tmp_path):
    good, said = check(history, tmp_path / "history.jsonl")
    assert good, said


def lost_registration(entries):
    """A get long after shows an epoch that was replaced before it began."""
    registrations = [entry for entry in entries if entry["model"] == "node" and entry["op"] == "register"]
    last = max(registrations, key=lambda entry: entry["call"])
    older = min(registrations, key=lambda entry: entry["return"] if entry["key"] == last["key"] else 1 << 62)
    end = max(entry["return"] for entry in entries)
    stale = {"model": "node", "key": last["key"], "client": 99, "op": "get", "in": {}, "call": end + 1, "return": end + 2}
    return [*entries, {**stale, "out": {"epoch": older["out"]["epoch"]}}]


def lost_creation(entries):
    """An acknowledged creation that nobody can have seen: the version is not there, and nobody deleted it."""
    end = max(entry["return"] for entry in entries)
    base = {"model": "version", "key": "models/extra/versions/v", "client": 99, "in": {}}
    created = {**base, "op": "create", "call": end + 1, "return": end + 2, "out": {"uid": 1 << 40}}
    absent = {**base, "op": "get", "call": end + 3, "return": end + 4, "out": {"error": "VERSION_UNKNOWN"}}
    return [*entries, created, absent]


def commit_undone(entries):
    """A version that was seen COMMITTED is a DRAFT again under the same uid."""
    seen = next(entry for entry in entries if (entry.get("out") or {}).get("state") == "COMMITTED")
    undone = copy.deepcopy(seen)
    undone["out"]["state"] = "DRAFT"
    undone["call"], undone["return"] = seen["return"] + 1, seen["return"] + 2
    return [*entries, undone]


def stale_report_counted(entries):
    """A report of an epoch that has passed succeeds."""
    registrations = [entry for entry in entries if entry["model"] == "shard" and entry["op"] == "register"]
    end = max(entry["return"] for entry in entries)
    report = {"model": "shard", "key": registrations[0]["key"], "client": 99, "op": "report", "out": {}}
    report.update({"in": {"epoch": 1, "state": "READY"}, "call": end + 1, "return": end + 2})
    return [*entries, report]


def readiness_lost(entries):
    """A shard that was reported READY reads as another state, with nothing in between."""
    report = next(e for e in entries if e["op"] == "report" and e.get("out") == {} and e["in"]["state"] == "READY")
    end = max(entry["return"] for entry in entries)
    again = {**report, "client": 99, "call": end + 1, "return": end + 2}
    last = max(
        (e for e in entries if e["key"] == report["key"] and e["op"] in ("register", "report") and e.get("out") is not None),
        key=lambda entry: entry["call"],
    )
    epoch = last["out"].get("epoch", last["in"].get("epoch"))
    again["in"] = {"epoch": epoch, "state": "READY"}
    status = {**again, "op": "status", "in": {}, "call": end + 3, "return": end + 4, "out": {"state": "FETCHING"}}
    return [*entries, again, status]


@pytest.mark.parametrize(
    "corrupt", [lost_registration, lost_creation, commit_undone, stale_report_counted, readiness_lost]
)
def test_corrupted_history_is_rejected(history, tmp_path, corrupt):
    good, said = check(corrupt(copy.deepcopy(history)), tmp_path / "history.jsonl")

    assert not good, said
