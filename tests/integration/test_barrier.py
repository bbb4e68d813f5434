"""READY keeps its promise (invariant 5, docs/design.md): whom it waits for, and how many nodes have to hold what is theirs."""

import pytest
from harness import checkpoints
from harness.api import DEGRADED, READY, WAITING
from harness.conditions import always, eventually
from harness.views import await_line

SHARDS = 4
# Lost after 2 s, released after 3 s more.
LEASE = ("--lease-ttl", "2s")
GRACE = ("--move-grace", "3s")


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=2))


@pytest.fixture(name="published")
def publish(new_cluster, source):
    cluster = new_cluster()
    cluster.start_server(*GRACE)
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    return cluster


def model_bytes(cluster):
    return sum(shard.size_bytes for shard in cluster.api().shards("llama", "v1"))


def start_ready(cluster, count, min_nodes, policy="full"):
    """Agents of a READY assembly, each with a lease of 2 s."""
    cluster.create_assembly("demo", "llama@v1", policy=policy, min_nodes=min_nodes)
    agents = cluster.start_agents(count, "demo", *LEASE)
    cluster.wait_ready("demo", "--nodes", count)
    cluster.wait_ready("demo")
    return agents


def states(cluster):
    """Every state that the assembly has had."""
    events = cluster.muster("events", "--assembly", "demo", "--json").stdout.splitlines()
    return [line for line in events if '"ASSEMBLY_STATE"' in line]


def member(cluster, node):
    found = cluster.api().assemblies.GetAssembly(name="assemblies/demo", node=f"nodes/{node}").members
    return found[0] if found else None


def test_scale_out_under_wait_takes_ready_from_nobody(published):
    start_ready(published, 2, min_nodes=2)
    before = states(published)
    rollout = published.spawn_muster("rollout", "wait", "demo", "--nodes", 4, "--timeout", "60s")

    published.start_agent("n3", "demo", *LEASE)
    published.start_agent("n4", "demo", *LEASE)

    while rollout.running():
        gate = published.wait_ready("demo", timeout=1, check=False)
        assert gate.code == 0, str(gate)
    assert rollout.wait(60) == 0, rollout.output()
    assert "4 nodes ready" in rollout.output()
    assert published.api().assembly("demo").nodes_ready == 4
    assert published.wait_ready("demo", "--node", "n4").code == 0
    assert states(published) == before, "its state did not change"


def test_joining_node_is_shown_with_how_far_it_is(published):
    start_ready(published, 1, min_nodes=1)
    # Its agent reads nothing, so it stays on its way.
    published.spawn(
        "agent-n2",
        published.muster_command("agent", "--node", "n2", "--assembly", "demo")
        + ["--cache", str(published.cache("n2"))],
        env={"MUSTER_ALLOW_LOCATION": "file:///nowhere"},
    )
    eventually(lambda: (found := member(published, "n2")) and found.shards_failed, "n2 fails")

    waited = published.wait_ready("demo").stdout
    status = published.muster("status", "demo").stdout

    for text in (waited, status):
        assert "1 of 2 nodes ready, n2 joining at 0 %" in text
    assert member(published, "n2").joining
    # A shard counts as its assembly does: who is joining is not waited for.
    shard = published.api().assemblies.GetShardStatus(name="assemblies/demo", shard=0)
    assert len(shard.replicas) == 2 and shard.replicas_ready == shard.replicas_required == 1
    assert published.wait_ready("demo", "--nodes", 2, timeout=1, check=False).code == 3
    assert published.wait_ready("demo", "--node", "n2", timeout=1, check=False).code == 3


def test_loss_below_min_nodes_waits_with_the_numbers(published):
    agents = start_ready(published, 2, min_nodes=2)
    api = published.api()

    agents[1].kill()

    eventually(lambda: api.assembly("demo").state == DEGRADED, "the lease runs out")
    eventually(lambda: api.assembly("demo").state == WAITING, "its shards are released")
    refused = published.wait_ready("demo", timeout=1, check=False)
    assert refused.code == 3
    assert "1 of 2 nodes" in refused.text
    # A smaller job may go on.
    published.muster("assemblies", "update", "demo", "--min-nodes", 1)
    published.wait_ready("demo")
    assert api.assembly("demo").nodes_ready == 1


def test_node_that_can_never_hold_its_claim_is_refused_at_joining(published):
    start_ready(published, 1, min_nodes=1)
    before = states(published)

    small = published.start_agent("small", "demo", "--capacity", "1MiB")

    assert small.wait(30) == 6, small.output()
    assert "needs " in small.output() and "its capacity is 1.0 MiB" in small.output()
    assert published.api().is_ready("demo")
    assert member(published, "small") is None
    assert states(published) == before


def test_node_whose_room_others_have_taken_is_told_and_changes_nothing(published, source):
    capacity = model_bytes(published) + (1 << 20)
    published.publish(source, "other@v1", shards=SHARDS)
    start_ready(published, 1, min_nodes=1)
    before = states(published)
    published.create_assembly("first", "other@v1", policy="full")
    published.start_agent("small", "first", "--capacity", capacity)
    published.wait_ready("first")
    # Again, and told to join the other one as well; what it has stays its.
    published.processes[-1].terminate()
    agent = published.start_agent("small", "first", "--assembly", "demo", "--capacity", capacity)
    published.wait_ready("first")

    line = await_line(agent, "no_room")

    assert 'assembly="demo"' in line and "1.0 MiB left" in line
    assert member(published, "small").problem
    assert published.api().is_ready("demo")
    assert "small gets no shards" in published.muster("status", "demo").stdout
    for overview in (["status"], ["assemblies"]):
        assert "1 live node gets no shards: `muster status demo`" in published.muster(*overview).stdout
    assert states(published) == before
    # The room comes back.
    published.muster("assemblies", "delete", "first", "--force")
    published.wait_ready("demo", "--node", "small")
    assert agent.running()


def test_joining_node_with_a_small_cache_changes_nothing(published):
    start_ready(published, 1, min_nodes=1)
    before = states(published)

    small = published.start_agent("small", "demo", "--cache-budget", model_bytes(published) - 1)

    eventually(lambda: (found := member(published, "small")) and found.shards_failed, "small fails")
    always(lambda: published.api().is_ready("demo"), "it is READY", 1)
    assert states(published) == before
    assert small.running()


def test_replacement_of_a_node(published):
    agents = start_ready(published, 2, min_nodes=2)
    api = published.api()
    agents[0].kill()
    eventually(lambda: api.assembly("demo").state == WAITING, "its shards are released")

    published.start_agent("n3", "demo", *LEASE)

    published.wait_ready("demo")
    assert api.assembly("demo").nodes_ready == 2
    # The one that was gone comes back, as one that joins.
    published.start_agent("n1", "demo", *LEASE, name="agent-n1-again")
    published.wait_ready("demo", "--nodes", 3)
    assert api.is_ready("demo")


def test_rolling_restart_of_all_agents(published):
    agents = start_ready(published, 3, min_nodes=2)
    for number, agent in enumerate(agents, 1):
        agent.terminate()
        published.start_agent(f"n{number}", "demo", *LEASE, name=f"agent-n{number}-again")
        published.wait_ready("demo", "--node", f"n{number}")

    published.wait_ready("demo")
    assert published.api().assembly("demo").nodes_ready == 3
    told = "".join(states(published))
    assert "WAITING" not in told.split('"READY"', 1)[1], "no node was released"


def test_restarted_server_knows_who_is_established(published):
    agents = start_ready(published, 2, min_nodes=1)
    published.kill_server()
    published.start_server()
    api = published.api()
    assert api.assembly("demo").state == READY

    agents[1].kill()

    eventually(lambda: api.assembly("demo").state == DEGRADED, "n2 was ready once", timeout=30)
    eventually(lambda: api.assembly("demo").state == READY, "and is released", timeout=40)
