"""Where the bytes come from: bounded readers, nodes that wait, suspect locations, and agents that stop midway."""

import os
import pathlib
import random
import shutil
import signal
import threading

import pytest
from harness import checkpoints
from harness.api import READY, assembly_pb2
from harness.conditions import always, eventually

VERSION = "models/llama/versions/v1"
FETCHING = assembly_pb2.ShardReport.FETCHING
LEASE = "2s"
# So long that a read of it by one connection is still under way when a test has seen it.
BIG_BYTES = 256 << 20
REPAIR_SECONDS = 75


@pytest.fixture(name="big_file", scope="module")
def make_big_file(tmp_path_factory):
    """One shard's worth of zeros, which take no room."""
    path = tmp_path_factory.mktemp("source") / "weights.gguf"
    path.touch()
    os.truncate(path, BIG_BYTES)
    return path


@pytest.fixture(name="small_file", scope="module")
def make_small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=1))


def locations(api, index=0):
    return api.models.GetShard(name=f"{VERSION}/shards/{index}").shard.locations


def path_of(location):
    return pathlib.Path(location.uri.removeprefix("file://"))


def set_location(api, index, **location):
    api.models.AddLocations(name=VERSION, entries=[{"shard": index, "location": location}])


def start_agents(cluster, names):
    """One connection each, so that a big shard takes its time."""
    arguments = ["--lease-ttl", LEASE, "--connections", 1]
    return {name: cluster.start_agent(name, "demo", *arguments) for name in names}


def replicas(api, shard=0):
    return {replica.node: replica for replica in api.assemblies.GetShardStatus(name="assemblies/demo", shard=shard).replicas}


def waiting(api):
    """Short names of the nodes that wait for a place for shard 0."""
    return {node.removeprefix("nodes/") for node, replica in replicas(api).items() if replica.waiting_for_location}


def reasons(api):
    return {assembly_pb2.AssemblyReason.Code.Name(reason.code) for reason in api.assembly("demo").reasons}


def opens(process, path):
    """Whether the process has the file open just now."""
    directory = f"/proc/{process.pid}/fd"
    try:
        return any(os.readlink(f"{directory}/{fd}") == str(path) for fd in os.listdir(directory))
    except OSError:
        return False


class ReaderWatch:
    """Looks again and again which processes have a file open, in a thread, until the end of the `with`."""

    def __init__(self, agents, path):
        self._agents, self._path = agents, path
        self.seen, self.overlaps = set(), set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.002):
            for name in self._agents:
                if not opens(self._agents[name], self._path):
                    continue
                self.seen.add(name)
                others = [other for other in self._agents if other != name and opens(self._agents[other], self._path)]
                # Only if it still has the file was it open in both at once.
                if others and opens(self._agents[name], self._path):
                    self.overlaps.add((name, *others))


@pytest.fixture(name="bounded")
def publish_bounded(cluster, big_file):
    """A model of one big shard that one node at a time may read, and an assembly that wants it on three nodes."""
    cluster.publish(big_file, "llama@v1", strategy="raw", shards=1)
    api = cluster.api()
    set_location(api, 0, uri=locations(api)[0].uri, max_readers=1)
    cluster.create_assembly("demo", "llama@v1", policy="full", min_nodes=3)
    yield cluster
    cluster.close()
    for directory in [cluster.store, *cluster.directory.glob("cache-*")]:
        shutil.rmtree(directory)


def reader_of(api, names):
    """Waits until one node reads and the others wait; returns the reader."""

    def reader():
        others = set(names) - waiting(api)
        return others.pop() if len(others) == 1 else None

    return eventually(reader, "two nodes wait for a place")


def test_no_more_nodes_read_at_once_than_the_location_allows(bounded):
    api = bounded.api()
    names = ["n1", "n2", "n3"]
    agents = start_agents(bounded, names)
    with ReaderWatch(agents, path_of(locations(api)[0])) as watch:
        reader_of(api, names)
        shown = api.assemblies.GetAssembly(name="assemblies/demo")
        if shown.assembly.state != READY and sum(member.shards_waiting for member in shown.members) > 0:
            assert "WAITING_FOR_ORIGIN" in {assembly_pb2.AssemblyReason.Code.Name(r.code) for r in shown.assembly.reasons}
        bounded.wait_ready("demo")

    assert watch.seen == set(names)
    assert not watch.overlaps
    assert not waiting(api)
    assert any("event=waiting" in agent.output() for agent in agents.values())


def test_killed_reader_frees_its_place_with_its_lease(bounded):
    api = bounded.api()
    names = ["n1", "n2", "n3"]
    agents = start_agents(bounded, names)
    reader = reader_of(api, names)
    agents[reader].kill()

    eventually(lambda: reader not in waiting(api) and len(waiting(api)) < 2, "the next node reads", 10)

    agents[reader] = bounded.start_agent(reader, "demo", "--lease-ttl", LEASE, name=f"agent-{reader}-again")
    bounded.wait_ready("demo")


def test_paused_reader_loses_its_place_and_comes_back(bounded):
    """SIGSTOP past the lease, then SIGCONT: heartbeats and watches resume under the same epoch, and READY comes."""
    api = bounded.api()
    names = ["n1", "n2", "n3"]
    agents = start_agents(bounded, names)
    reader = reader_of(api, names)
    epoch = api.nodes.GetNode(name=f"nodes/{reader}").node.epoch
    os.kill(agents[reader].pid, signal.SIGSTOP)

    eventually(lambda: not waiting(api), "both others had their turn", 40)
    eventually(lambda: all(replicas(api)[f"nodes/{name}"].counted for name in names if name != reader), "both are READY")
    assert not replicas(api)[f"nodes/{reader}"].node_live
    os.kill(agents[reader].pid, signal.SIGCONT)

    bounded.wait_ready("demo")
    assert api.nodes.GetNode(name=f"nodes/{reader}").node.epoch == epoch
    assert agents[reader].running()


def test_restarted_server_gives_no_place_away_that_is_still_used(bounded):
    api = bounded.api()
    names = ["n1", "n2", "n3"]
    agents = start_agents(bounded, names)
    with ReaderWatch(agents, path_of(locations(api)[0])) as watch:
        reader_of(api, names)
        bounded.kill_server()
        bounded.start_server("--lease-ttl", 2)
        bounded.wait_ready("demo")

    assert watch.seen == set(names)
    assert not watch.overlaps


@pytest.fixture(name="doubled")
def publish_doubled(cluster, small_file):
    """Every shard at two locations, of which the first is the better one; returns (cluster, first, second) of shard 1."""
    cluster.publish(small_file, "llama@v1", shards=2)
    api = cluster.api()
    for index in range(2):
        first = path_of(locations(api, index)[0])
        second = first.with_suffix(".second")
        shutil.copy2(first, second)
        set_location(api, index, uri=f"file://{second}", priority=500)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    first, second = (path_of(location) for location in locations(api, 1))
    return cluster, first, second


def flip(path):
    os.chmod(path, 0o644)
    checkpoints.flip_byte(path, path.stat().st_size // 2)


def shorten(path):
    os.chmod(path, 0o644)
    os.truncate(path, path.stat().st_size - 1)


def remove(path):
    path.unlink()


def suspects(api, index=1):
    return {path_of(location).suffix for location in locations(api, index) if location.suspect}


@pytest.mark.parametrize("damage", [flip, shorten, remove])
def test_one_bad_location_never_makes_a_model_unavailable(doubled, damage):
    cluster, first, _second = doubled
    damage(first)

    start_agents(cluster, ["n1", "n2", "n3"])

    cluster.wait_ready("demo")
    api = cluster.api()
    eventually(lambda: suspects(api) == {first.suffix}, "the bad location is suspect")
    assert not suspects(api, 0)
    assert "LOCATION_SUSPECT" not in reasons(api)


def test_suspect_location_is_tried_last_until_it_was_verified(doubled):
    """A read of the repaired location would clear it, so that a third node that leaves it suspect did not read it."""
    cluster, first, second = doubled
    api = cluster.api()
    kept = first.with_suffix(".kept")
    shutil.copy2(first, kept)
    flip(first)
    start_agents(cluster, ["n1"])
    cluster.wait_ready("demo")
    assert not suspects(api)
    start_agents(cluster, ["n2"])
    eventually(lambda: suspects(api) == {first.suffix}, "two nodes made it suspect")
    os.replace(kept, first)

    start_agents(cluster, ["n3"])
    eventually(lambda: replicas(api, 1).get("nodes/n3") and replicas(api, 1)["nodes/n3"].counted, "n3 is READY")
    assert suspects(api) == {first.suffix}
    second.unlink()
    start_agents(cluster, ["n4"])

    eventually(lambda: replicas(api, 1).get("nodes/n4") and replicas(api, 1)["nodes/n4"].counted, "n4 is READY")
    eventually(lambda: not suspects(api), "one verified read clears it")


def test_suspect_location_is_a_reason_while_the_assembly_is_not_ready(doubled):
    cluster, first, second = doubled
    api = cluster.api()
    kept = second.with_suffix(".kept")
    second.rename(kept)
    flip(first)
    agents = start_agents(cluster, ["n1", "n2"])

    eventually(lambda: "LOCATION_SUSPECT" in reasons(api), "the reason shows")
    always(lambda: not api.is_ready("demo"), "wrong bytes are never READY", 0.5)
    kept.rename(second)

    cluster.wait_ready("demo", timeout=REPAIR_SECONDS)
    assert "LOCATION_SUSPECT" not in reasons(api)
    assert all(agent.running() for agent in agents.values())


def test_shard_that_fails_again_and_again_on_one_node_goes_to_another(cluster, tmp_path, small_disk):
    """n1 has no room on its disk; after three failures the server asks n2, and says why."""
    source = tmp_path / "weights.gguf"
    source.write_bytes(random.Random(3).randbytes(8 << 20))
    cluster.publish(source, "llama@v1", strategy="raw", shards=2)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    tiny = small_disk("tiny", 1)
    cluster.start_agent("n1", "demo", "--lease-ttl", LEASE, cache=tiny / "cache")
    cluster.start_agent("n2", "demo", "--lease-ttl", LEASE)

    cluster.wait_ready("demo")

    api = cluster.api()
    members = {member.node: member for member in api.assemblies.GetAssembly(name="assemblies/demo").members}
    assert members["nodes/n1"].shards_given_up >= 1
    assert members["nodes/n1"].shards_assigned == 0
    assert members["nodes/n2"].shards_ready == 2
