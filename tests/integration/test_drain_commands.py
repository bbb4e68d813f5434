"""Taking nodes out of service with the command: READY stays READY, blockers have numbers, dry runs change nothing."""

import json
import threading

import grpc
import pytest
from harness import checkpoints
from harness.api import DEGRADED, assembly_pb2
from harness.conditions import always, eventually
from harness.made_up import MIB, Node, add_assembly, add_model, make_ready

SHARDS = 4


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=2))


class Watch:
    """The states of an assembly as WatchAssembly sends them, from now on."""

    def __init__(self, api, name="demo"):
        self.states = []
        self._began = threading.Event()
        self._stream = api.assemblies.WatchAssembly(name=f"assemblies/{name}", timeout=100)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._began.wait(20)

    def _run(self):
        try:
            for message in self._stream:
                if message.HasField("assembly"):
                    self.states.append(assembly_pb2.Assembly.State.Name(message.assembly.state))
                self._began.set()
        except grpc.RpcError:
            pass

    def end(self):
        self._stream.cancel()
        self._thread.join(20)
        return self.states


def node_of(cluster, name):
    return cluster.muster("nodes", "show", name, "--json").json()["node"]


def state_of(cluster, name):
    """What the table says."""
    rows = [line for line in cluster.muster("nodes").stdout.splitlines()[1:] if line.split()[0] == name]
    return rows[0]


# --- drains of real agents


def test_drain_keeps_an_assembly_with_one_replica_ready(cluster, source):
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = cluster.start_agents(3, "demo")
    cluster.wait_ready("demo")
    cluster.allow_nodes("demo", 2)
    api = cluster.api()
    assert int(node_of(cluster, "n1")["assigned_bytes"]) > 0
    watch = Watch(api)

    drained = cluster.muster("nodes", "drain", "n1", "--wait")

    assert "n1 is drained" in drained.stdout
    assert node_of(cluster, "n1")["assigned_bytes"] == 0
    assert "drained" in state_of(cluster, "n1")
    assert set(watch.end()) == {"READY"}
    for shard in range(SHARDS):
        replicas = api.assemblies.GetShardStatus(name="assemblies/demo", shard=shard).replicas
        assert [replica.counted for replica in replicas] == [True]
        assert replicas[0].node != "nodes/n1"
    states = [
        json.loads(line)["new_state"]
        for line in cluster.muster("events", "--node", "n1", "--kind", "NODE_DRAIN", "--json").stdout.splitlines()
    ]
    assert states == ["DRAINING", "DRAINED"]
    agents[0].terminate()
    always(lambda: api.is_ready("demo"), "READY without the drained agent", 0.5)


def test_cancelled_drain_lets_the_node_take_shards_again(cluster, source):
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.allow_nodes("demo", 1)
    cluster.muster("nodes", "drain", "n1", "--wait")

    shown = cluster.muster("nodes", "drain", "n1", "--cancel").stdout

    assert "not being drained" in shown
    assert " live " in state_of(cluster, "n1")
    cluster.muster("nodes", "drain", "n2", "--wait")
    assert int(node_of(cluster, "n1")["assigned_bytes"]) > 0
    assert cluster.api().is_ready("demo")


def test_waiting_ends_when_somebody_cancels(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api))
    make_ready(api, [Node(api, "n1").join()])
    wait = cluster.spawn_muster("drain", "nodes", "drain", "n1", "--wait")
    eventually(lambda: "shards left" in wait.output(), "the wait has begun")

    cluster.muster("nodes", "drain", "n1", "--cancel")

    assert wait.wait(20) == 1
    assert "not being drained any more" in wait.output()


# --- what is in the way


def test_drain_without_room_is_overdue_and_says_what_is_missing(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=2, size_bytes=10 * MIB), min_nodes=2)
    nodes = [Node(api, f"n{i}", capacity_bytes=11 * MIB).join() for i in (1, 2)]
    make_ready(api, nodes)
    watch = Watch(api)

    overdue = cluster.muster("nodes", "drain", "n1", "--deadline", "1s", "--wait", check=False)

    assert overdue.code == 3
    assert "overdue" in overdue.stderr or "deadline" in overdue.stderr
    assert "10.0 MiB" in overdue.stderr
    assert "n2" in overdue.stderr or "node" in overdue.stderr
    assert "overdue 1 left" in state_of(cluster, "n1")
    assert "10.0 MiB" in cluster.muster("nodes", "show", "n1").stdout
    assert set(watch.end()) == {"READY"}
    assert nodes[0].replicas()


def test_drain_of_a_node_that_alone_claims_a_shard_names_the_claim(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), policy="DECLARED", min_nodes=2)
    make_ready(api, [Node(api, "n1").join(shards=[0, 1]), Node(api, "n2").join(shards=[2, 3])])

    waited = cluster.muster("nodes", "drain", "n1", "--wait", "--timeout", "1s", check=False)

    assert waited.code == 3
    assert "claim" in waited.stderr and "n1" in waited.stderr
    drain = node_of(cluster, "n1")["drain"]
    assert drain["state"] == "DRAINING"
    assert drain["blockers"][0]["assembly"] == "assemblies/demo"
    assert sorted(drain["blockers"][0]["shards"]) == [0, 1]


@pytest.mark.parametrize("timeout", ["300ms", "1s", "2s"])
def test_drain_that_timed_out_is_no_fault_of_the_server(cluster, timeout):
    api = cluster.api()
    add_assembly(api, add_model(api))
    make_ready(api, [Node(api, "n1").join()])

    # The second time there is no news at all.
    for _ in range(2):
        waited = cluster.muster("nodes", "drain", "n1", "--wait", "--timeout", timeout, check=False)

        assert waited.code == 3, str(waited)
        assert f"not drained after {timeout}" in waited.stderr and "its drain stays on" in waited.stderr
        assert "`muster nodes drain n1 --cancel` ends the drain" in waited.stderr
    assert node_of(cluster, "n1")["drain"]["state"] == "DRAINING"
    assert cluster.muster("nodes", "drain", "n1", "--cancel").stdout == "n1 takes shards: it is not being drained\n"


def test_room_that_appears_lets_a_blocked_drain_go_on(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=2, size_bytes=10 * MIB), min_nodes=2)
    nodes = [Node(api, f"n{i}", capacity_bytes=11 * MIB).join() for i in (1, 2)]
    make_ready(api, nodes)
    wait = cluster.spawn_muster("drain", "nodes", "drain", "n1", "--wait")
    eventually(lambda: "10.0 MiB" in wait.output(), "the wait shows what is missing")

    roomy = Node(api, "n3").join()
    eventually(lambda: roomy.replicas(), "the new node gets the shard")
    roomy.report_all()

    assert wait.wait(20) == 0
    assert "n1 is drained" in wait.output()


# --- dry runs


def test_dry_runs_change_nothing_and_give_the_bytes(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=6), min_nodes=3)
    nodes = [Node(api, f"n{i}").join() for i in (1, 2, 3)]
    make_ready(api, nodes)
    moving = sum(MIB + shard for shard in nodes[0].replicas())
    assert moving
    revision = api.nodes.ListNodes().revision

    drain = cluster.muster("nodes", "drain", "n1", "--dry-run", "--json").json()
    leave = cluster.muster("assemblies", "leave", "demo", "--node", "n1", "--dry-run", "--json").json()
    remove = cluster.muster("nodes", "deregister", "n1", "--dry-run", "--json").json()
    text = cluster.muster("nodes", "drain", "n1", "--dry-run").stdout

    assert api.nodes.ListNodes().revision == revision
    assert not api.nodes.GetNode(name="nodes/n1").node.HasField("drain")
    for plan in (drain["plans"][0], leave["plan"], remove["plans"][0]):
        assert plan["assembly"] == "assemblies/demo"
        assert int(plan["added_bytes"]) == moving
        assert not plan["reasons"]
        gained = {change["node"]: int(change["added_bytes"]) for change in plan["nodes"] if int(change["added_bytes"])}
        assert set(gained) == {"nodes/n2", "nodes/n3"}
        assert sum(gained.values()) == moving
    assert "demo: " in text and "MiB to fetch" in text and "n2" in text


def test_dry_run_of_a_join_shows_what_the_node_would_get(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=4), move_budget_bytes=1 << 40, min_nodes=1)
    node = Node(api, "n1").join()
    make_ready(api, [node])
    other = Node(api, "n2")
    revision = api.nodes.ListNodes().revision

    plan = api.assemblies.JoinAssembly(
        name="assemblies/demo", node="nodes/n2", epoch=other.epoch, claim={"kind": "ANY"}, validate_only=True
    ).plan

    assert api.nodes.ListNodes().revision == revision
    assert api.assembly("demo").nodes_joined == 1
    assert [change.node for change in plan.nodes if change.added_bytes] == ["nodes/n2"]
    assert plan.added_bytes == sum(change.added_bytes for change in plan.nodes) > 0


def test_dry_run_says_what_would_have_no_place(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=2, size_bytes=10 * MIB), min_nodes=2)
    make_ready(api, [Node(api, f"n{i}", capacity_bytes=11 * MIB).join() for i in (1, 2)])

    text = cluster.muster("nodes", "deregister", "n1", "--dry-run").stdout

    assert "10.0 MiB" in text


def test_dry_run_makes_the_checks_of_the_call(cluster):
    for words in (["nodes", "drain"], ["nodes", "deregister"]):
        refused = cluster.muster(*words, "nobody", "--dry-run", "--json", check=False)
        assert refused.code == 1
        assert json.loads(refused.stderr)["reason"] == "NODE_UNKNOWN"


# --- the brake


def test_moves_out_of_a_lost_zone_wait_until_they_are_resumed(new_cluster):
    cluster = new_cluster()
    cluster.start_server("--move-grace", "1s")
    api = cluster.api()
    add_assembly(api, add_model(api, shards=7), min_nodes=6)
    doomed = [Node(api, f"a{i}", zone="a", lease_seconds=4).join() for i in range(5)]
    safe = Node(api, "b1", zone="b").join()
    make_ready(api, [*doomed, safe])
    cluster.allow_nodes("demo", 1)
    eventually(lambda: api.assembly("demo").state == DEGRADED, "DEGRADED once the leases ran out", 40)
    eventually(lambda: all("braked" in state_of(cluster, f"a{i}") for i in range(5)), "the brake holds all five", 40)

    explained = cluster.muster("explain", "demo").stdout
    previewed = cluster.muster("nodes", "resume-moves", "--zone", "a", "--dry-run")
    elsewhere = cluster.muster("nodes", "resume-moves", "--zone", "b")
    always(lambda: "braked" in state_of(cluster, "a0"), "nothing of it resumes the moves", 0.5)
    resumed = cluster.muster("nodes", "resume-moves", "--zone", "a", "--json").json()

    assert "MOVES_BRAKED" in explained and "resume-moves" in explained
    lost = [line for line in explained.splitlines() if "NODE_LOST:" in line]
    assert lost and all("which stay with it: moves are braked" in line for line in lost)
    assert explained.index("MOVES_BRAKED:") < explained.index("NODE_LOST:"), "what explains most comes first"
    assert "once the server's --move-grace is over" not in explained
    assert "5 nodes" in previewed.stdout and "b1" in previewed.stdout
    assert "no node" in elsewhere.stdout
    assert sorted(resumed["nodes"]) == [f"nodes/a{i}" for i in range(5)]
    assert "released" in state_of(cluster, "a0")
    make_ready(api, [safe])
    assert api.assembly("demo").shards_ready == 7
    assert "no node" in cluster.muster("nodes", "resume-moves").stdout
