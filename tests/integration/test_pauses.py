"""Processes that are killed, or stand still for a while (SIGSTOP), at moments when it matters.

MUSTER_REPEAT=100 runs each so often. Deadlines are generous; what must not happen is read from revisions, which a
moment between two looks can't hide.
"""

import pytest
from harness import checkpoints
from harness.api import READY, ApiError, assembly_pb2, node_pb2
from harness.cluster import free_port
from harness.conditions import always, eventually

SHARDS = 6
TTL_SECONDS = 2
GRACE_SECONDS = 1
FENCED_EXIT_CODE = 5


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=2))


@pytest.fixture(name="cluster")
def quick_cluster(new_cluster):
    """A cluster that loses and replaces nodes within seconds."""
    made = new_cluster()
    made.start_server("--lease-ttl", TTL_SECONDS, "--move-grace", GRACE_SECONDS)
    return made


@pytest.fixture(name="loaded")
def load(cluster, source):
    """A READY assembly whose shards are spread over three nodes; its agents."""
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = cluster.start_agents(3, "demo")
    cluster.wait_ready("demo")
    cluster.allow_nodes("demo", 2)
    return agents


def holders(api):
    """By shard: the nodes that hold it, in order."""
    found = []
    for shard in range(SHARDS):
        replicas = api.assemblies.GetShardStatus(name="assemblies/demo", shard=shard).replicas
        found.append([(replica.node, replica.generation) for replica in replicas])
    return found


def held_by(api, node):
    return [shard for shard, replicas in enumerate(holders(api)) if f"nodes/{node}" in dict(replicas)]


def node_revisions(api):
    """A loss, a return and a registration each change a node's revision."""
    return {node.name: (node.epoch, node.revision) for node in api.nodes.ListNodes().nodes}


def state_of(api, node):
    return node_pb2.Node.State.Name(api.nodes.GetNode(name=f"nodes/{node}").node.state)


def check_ready_is_true(api):
    """READY, by a count of the replicas that are shown one by one (invariant 5, docs/design.md)."""
    for shard in range(SHARDS):
        status = api.assemblies.GetShardStatus(name="assemblies/demo", shard=shard)
        required = [replica for replica in status.replicas if not replica.replaces]
        assert len(required) == 1, f"shard {shard}: {status}"
        assert required[0].state == assembly_pb2.ShardReport.READY, f"shard {shard}: {status}"
        assert required[0].counted and required[0].node_live, f"shard {shard}: {status}"


def moved_away(api, node):
    """The assembly is READY, and without that node."""
    return api.is_ready("demo") and not held_by(api, node)


def test_killed_agents_shards_move_after_the_grace(cluster, loaded, repetition):
    api = cluster.api()
    assert held_by(api, "n1"), f"repetition {repetition}"
    loaded[0].kill()

    eventually(lambda: moved_away(api, "n1"), "READY without the killed node", 60)

    check_ready_is_true(api)
    again = cluster.start_agent("n1", "demo", name="agent-n1-again")
    eventually(lambda: state_of(api, "n1") == "LIVE", "the node returns", 60)
    eventually(lambda: api.is_ready("demo"), "READY with the node", 60)
    check_ready_is_true(api)
    assert again.running()


def test_agent_that_returns_within_the_grace_keeps_its_shards(new_cluster, source, repetition):
    cluster = new_cluster()
    cluster.start_server("--lease-ttl", TTL_SECONDS, "--move-grace", 600)
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = cluster.start_agents(3, "demo")
    cluster.wait_ready("demo")
    api = cluster.api()
    before = holders(api)
    agents[0].pause()
    eventually(lambda: state_of(api, "n1") == "LOST", f"the stopped node is lost, repetition {repetition}", 60)
    assert not api.is_ready("demo")

    agents[0].resume()

    eventually(lambda: api.is_ready("demo"), "READY again", 60)
    assert holders(api) == before
    check_ready_is_true(api)


def test_agent_stopped_past_the_grace_returns_without_its_shards(cluster, loaded, repetition):
    api = cluster.api()
    epoch = api.nodes.GetNode(name="nodes/n1").node.epoch
    loaded[0].pause()
    eventually(lambda: moved_away(api, "n1"), f"READY without the stopped node, repetition {repetition}", 60)

    loaded[0].resume()

    eventually(lambda: state_of(api, "n1") == "LIVE", "the node is back by its heartbeat", 60)
    assert api.nodes.GetNode(name="nodes/n1").node.epoch == epoch
    eventually(lambda: api.is_ready("demo"), "READY with the node", 60)
    check_ready_is_true(api)
    assert loaded[0].running()


def test_stopped_agent_whose_name_was_taken_is_fenced_off(cluster, loaded, repetition):
    api = cluster.api()
    loaded[0].pause()
    heir = cluster.start_agent("n1", "demo", name="agent-heir", cache=cluster.cache("heir"))
    eventually(lambda: "event=registered" in heir.output(), f"the heir registers, repetition {repetition}", 60)
    epoch = api.nodes.GetNode(name="nodes/n1").node.epoch
    eventually(lambda: api.is_ready("demo"), "READY with the heir", 60)

    loaded[0].resume()

    assert loaded[0].wait(60) == FENCED_EXIT_CODE
    assert api.nodes.GetNode(name="nodes/n1").node.epoch == epoch
    assert api.is_ready("demo")
    check_ready_is_true(api)
    assert heir.running()


def test_stopped_server_declares_nobody_dead(cluster, loaded, repetition):
    api = cluster.api()
    nodes, before = node_revisions(api), holders(api)
    cluster.server.pause()
    always(lambda: all(agent.running() for agent in loaded), "agents wait for the server", 2 * TTL_SECONDS)

    cluster.server.resume()

    eventually(lambda: api.is_ready("demo"), f"READY after the stop, repetition {repetition}", 60)
    always(lambda: api.is_ready("demo"), "READY past a whole TTL", TTL_SECONDS + 1)
    assert node_revisions(api) == nodes, "a node was declared lost, or registered again"
    assert holders(api) == before
    check_ready_is_true(api)


def test_server_stopped_during_a_load_ends_ready(cluster, source, repetition):
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = cluster.start_agents(3, "demo")
    # At another moment each time: from the first registration to the end of the load.
    always(lambda: True, "time passes", 0.03 * (repetition % 30))
    cluster.server.pause()
    always(lambda: all(agent.running() for agent in agents), "agents wait for the server", TTL_SECONDS + 1)

    cluster.server.resume()

    cluster.wait_ready("demo")
    check_ready_is_true(cluster.api())
    assert all(agent.running() for agent in agents)


def test_server_and_agent_stopped_together(cluster, loaded, repetition):
    """The server comes back first: it gives the agent a whole TTL, then the grace, and only then moves its shards."""
    api = cluster.api()
    loaded[0].pause()
    cluster.server.pause()
    always(lambda: loaded[1].running(), "agents wait for the server", TTL_SECONDS + GRACE_SECONDS + 1)
    cluster.server.resume()
    eventually(lambda: moved_away(api, "n1"), f"READY without the stopped node, repetition {repetition}", 60)

    loaded[0].resume()

    eventually(lambda: state_of(api, "n1") == "LIVE", "the node is back by its heartbeat", 60)
    eventually(lambda: api.is_ready("demo"), "READY with the node", 60)
    check_ready_is_true(api)


def test_agents_find_the_server_at_its_other_address(new_cluster, source, repetition):
    cluster = new_cluster()
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    cluster.start_server("--lease-ttl", TTL_SECONDS, "--move-grace", GRACE_SECONDS, listen=second)
    both = f"{first},{second}"
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    agents = [cluster.start_agent(f"n{i}", "demo", server=both) for i in (1, 2)]
    cluster.wait_ready("demo")
    nodes = node_revisions(cluster.api())

    cluster.server.kill()
    cluster.start_server(listen=first)

    api = cluster.api()
    epochs = {name: epoch for name, (epoch, _) in nodes.items()}
    eventually(lambda: ready(api), f"READY at the other address, repetition {repetition}", 60)
    # Past the TTL that every lease got at the start: the heartbeats arrive.
    always(lambda: ready(api), "READY past a whole TTL", TTL_SECONDS + 1)
    assert {name: epoch for name, (epoch, _) in node_revisions(api).items()} == epochs
    assert all(agent.running() for agent in agents)


def ready(api):
    try:
        return api.assembly("demo").state == READY
    except ApiError:
        return False
