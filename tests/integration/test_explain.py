"""From "not READY" to the reason: `muster explain` and `muster events`, on made-up nodes and on real agents."""

import json

import pytest
from harness import checkpoints
from harness.api import DEGRADED, ApiError
from harness.conditions import eventually
from harness.made_up import MIB, Node, add_assembly, add_model, make_ready

FAILURE = {"code": "CORRUPT", "message": "the bytes are not those that were registered", "attempts": 3}


def verdicts(cluster, shard, *args, assembly="demo"):
    """Node -> (outcome, rule, message), as the command prints them as JSON."""
    answer = cluster.muster("explain", assembly, shard, "--json", *args).json()
    return {
        verdict["node"].removeprefix("nodes/"): (verdict["outcome"], verdict["rule"], verdict["message"])
        for verdict in answer["nodes"]
    }


def plan_of(api, *nodes, assembly="demo"):
    """Waits for a plan that gives something to one of the nodes."""
    eventually(lambda: any(node.replicas(assembly) for node in nodes), "a plan is made")


def holders(found):
    return {node for node, (outcome, _, _) in found.items() if outcome in ("HOLDS", "INCOMING", "LEAVING")}


# --- every rule


def test_sticky_and_enough_replicas(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), min_nodes=3)
    make_ready(api, [Node(api, f"n{i}").join() for i in range(3)])

    found = verdicts(cluster, 0)

    assert len(holders(found)) == 1
    (holder,) = holders(found)
    assert found[holder][:2] == ("HOLDS", "STICKY")
    others = [found[node] for node in found if node != holder]
    assert {outcome for outcome, _, _ in others} == {"POSSIBLE"}
    assert {rule for _, rule, _ in others} == {"ENOUGH_REPLICAS"}
    assert all(message for _, _, message in found.values())


def test_every_node_under_full(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), policy="FULL", min_nodes=2)
    plan_of(api, *[Node(api, f"n{i}").join() for i in range(2)])

    assert {(outcome, rule) for outcome, rule, _ in verdicts(cluster, 1).values()} <= {
        ("HOLDS", "EVERY_NODE"),
        ("HOLDS", "STICKY"),
    }


def test_claimed_and_not_claimed(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), policy="DECLARED", min_nodes=2)
    plan_of(api, Node(api, "n1").join(shards=[0, 1]), Node(api, "n2").join(shards=[2]))

    found = verdicts(cluster, 0)

    assert found["n1"][:2] == ("HOLDS", "CLAIMED")
    assert found["n2"][:2] == ("REFUSED", "NOT_CLAIMED")


def test_ranks(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, ranked=True), policy="RANKED", min_nodes=2)
    plan_of(api, Node(api, "n1").join(ranks=[0, 1]), Node(api, "n2").join(ranks=[2, 3]))

    found = verdicts(cluster, 3)

    assert found["n1"][:2] == ("REFUSED", "NOT_CLAIMED")
    assert found["n2"][:2] == ("HOLDS", "CLAIMED")


def test_runs_of_consecutive_shards(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=6), policy="CONTIGUOUS", min_nodes=2)
    plan_of(api, *[Node(api, f"n{i}").join() for i in range(2)])

    found = verdicts(cluster, 0)

    assert sorted((outcome, rule) for outcome, rule, _ in found.values()) in (
        [("HOLDS", "IN_RUN"), ("REFUSED", "OUTSIDE_RUN")],
        [("HOLDS", "STICKY"), ("REFUSED", "OUTSIDE_RUN")],
    )


def test_no_room_says_how_much_is_missing(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=2, size_bytes=10 * MIB), min_nodes=2)
    plan_of(api, Node(api, "small", capacity_bytes=MIB).join(), Node(api, "big").join())

    outcome, rule, message = verdicts(cluster, 1)["small"]

    assert (outcome, rule) == ("REFUSED", "NO_ROOM")
    assert "10.0 MiB" in message and "1.0 MiB" in message


def test_what_cant_be_placed_is_said_with_numbers(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=2, size_bytes=10 * MIB))
    Node(api, "small", capacity_bytes=MIB).join()
    eventually(lambda: "NO_ROOM" in cluster.muster("explain", "demo").stdout, "the plan says NO_ROOM")

    text = cluster.muster("explain", "demo").stdout

    assert "10.0 MiB" in text and "1.0 MiB" in text
    assert "--capacity" in text


def test_lost_node(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), min_nodes=2)
    nodes = [Node(api, "lost", lease_seconds=1).join(), Node(api, "other").join()]
    make_ready(api, nodes)
    held = next(iter(nodes[0].replicas()))
    elsewhere = next(iter(nodes[1].replicas()))
    eventually(lambda: verdicts(cluster, elsewhere)["lost"][1] == "NODE_LOST", "the lease runs out")

    assert verdicts(cluster, elsewhere)["lost"][0] == "REFUSED"
    # Within the grace it keeps what it has.
    assert verdicts(cluster, held)["lost"][0] == "HOLDS"
    assert "READY, lost" in cluster.muster("explain", "demo", held, "--node", "lost").stdout


def test_draining_node(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), min_nodes=2)
    nodes = [Node(api, f"n{i}").join() for i in range(2)]
    make_ready(api, nodes)
    shard = next(iter(nodes[0].replicas()))
    cluster.muster("nodes", "drain", "n0")

    eventually(lambda: verdicts(cluster, shard)["n1"][0] == "INCOMING", "a replacement is planned")
    found = verdicts(cluster, shard)

    assert found["n0"][0] == "LEAVING"
    assert found["n0"][1] == "NODE_DRAINING"
    assert found["n1"][1] == "MOVE"
    other = next(iter(set(range(4)) - set(nodes[0].replicas())))
    assert verdicts(cluster, other)["n0"][:2] == ("REFUSED", "NODE_DRAINING")


def test_labels_differ(cluster):
    api = cluster.api()
    model = add_model(api)
    cluster.muster("assemblies", "create", "demo", "--model", "llama@v1", "--policy", "balanced", "--select", "gpu=h100")
    fits, other = Node(api, "fits", labels={"gpu": "h100"}).join(), Node(api, "other", labels={"gpu": "a10"}).join()
    plan_of(api, fits)

    found = verdicts(cluster, 0)

    assert model and other
    assert found["fits"][0] == "HOLDS"
    assert found["other"][:2] == ("REFUSED", "LABELS_DIFFER")
    assert "gpu" in found["other"][2]


def test_zone_spread(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=1), replicas=2, min_nodes=3)
    nodes = [Node(api, "a1", zone="a").join(), Node(api, "a2", zone="a").join(), Node(api, "b1", zone="b").join()]
    plan_of(api, *nodes)

    found = verdicts(cluster, 0)

    assert found["b1"][0] == "HOLDS"
    (idle,) = set(found) - holders(found)
    assert idle in ("a1", "a2")
    assert found[idle][0] in ("REFUSED", "POSSIBLE")
    assert found[idle][1] in ("ZONE_SPREAD", "ENOUGH_REPLICAS")


def test_failed_here_and_given_up(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=2), min_nodes=2)
    nodes = {node.name.removeprefix("nodes/"): node for node in [Node(api, f"n{i}").join() for i in range(2)]}
    plan_of(api, *nodes.values())
    (bad,) = holders(verdicts(cluster, 0))
    nodes[bad].report([0], state="FAILED", failure=FAILURE)

    eventually(lambda: bad not in holders(verdicts(cluster, 0)), "another node gets the shard")

    assert verdicts(cluster, 0)[bad][:2] == ("REFUSED", "FAILED_HERE")
    assert "SHARD_GIVEN_UP" in cluster.muster("events", "--assembly", "demo", "--kind", "shard-given-up").stdout
    explained = cluster.muster("explain", "demo").stdout
    assert "SHARD_FAILED" in explained
    assert "the bytes are not those" in explained
    assert "GIVEN UP" in cluster.muster("status", "demo").stdout


def test_no_plan_while_nodes_are_missing(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), min_nodes=3)
    Node(api, "n1").join()

    found = verdicts(cluster, 0)

    assert found["n1"][1] == "NO_PLAN"
    assert "1 of 3" in found["n1"][2]


# --- the call and the command


def test_one_node_and_what_does_not_exist(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api), min_nodes=2)
    Node(api, "elsewhere")
    plan_of(api, *[Node(api, f"n{i}").join() for i in range(2)])

    assert list(verdicts(cluster, 0, "--node", "n1")) == ["n1"]
    for args, reason in [
        (("demo", 0, "--node", "nobody"), "NODE_UNKNOWN"),
        (("demo", 0, "--node", "elsewhere"), "MEMBER_UNKNOWN"),
        (("demo", 4), "SHARD_UNKNOWN"),
        (("nothing", 0), "ASSEMBLY_UNKNOWN"),
        (("nothing",), "ASSEMBLY_UNKNOWN"),
    ]:
        refused = cluster.muster("explain", *args, "--json", check=False)
        assert refused.code == 1
        assert json.loads(refused.stderr)["reason"] == reason
    with pytest.raises(ApiError) as caught:
        api.assemblies.ExplainAssignment(name="assemblies/demo")
    assert caught.value.reason == "INVALID_FIELD"


def test_holders_come_first_and_carry_their_replica(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api, shards=1), min_nodes=3)
    make_ready(api, [Node(api, f"n{i}", zone=f"z{i}").join() for i in range(3)])

    answer = api.assemblies.ExplainAssignment(name="assemblies/demo", shard=0)

    assert answer.size_bytes == MIB
    assert answer.replicas_wanted == 1
    assert answer.generation == api.assembly("demo").generation
    assert answer.nodes[0].replica.counted
    assert answer.nodes[0].assigned_bytes == MIB
    rest = [verdict.node for verdict in answer.nodes[1:]]
    assert rest == sorted(rest) and len(rest) == 2
    assert not any(verdict.HasField("replica") for verdict in answer.nodes[1:])
    assert {verdict.zone for verdict in answer.nodes} == {"z0", "z1", "z2"}
    table = cluster.muster("explain", "demo", 0).stdout
    assert "wanted on 1 node" in table and "STICKY" in table


# --- events


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=1))


def test_events_tell_how_a_killed_agent_was_made_up_for(new_cluster, source):
    cluster = new_cluster()
    cluster.start_server("--move-grace", "1s")
    cluster.publish(source, "llama@v1", shards=3)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = cluster.start_agents(3, "demo", "--lease-ttl", "2s")
    cluster.wait_ready("demo")
    cluster.allow_nodes("demo", 2)
    api = cluster.api()
    revision = api.assembly("demo").revision
    follow = cluster.spawn_muster("events-follow", "events", "--follow", "--assembly", "demo", "--tail", "0", "--json")

    agents[1].kill()
    eventually(lambda: api.assembly("demo").state == DEGRADED, "DEGRADED once the lease ran out")
    explained = cluster.muster("explain", "demo").stdout
    cluster.wait_ready("demo")

    assert "NODE_LOST" in explained and "n2" in explained
    assert "READY -> DEGRADED" in explained
    events = [
        json.loads(line) for line in cluster.muster("events", "--since", revision, "--json").stdout.splitlines()
    ]
    story = [(event["kind"], event["node"] or event["assembly"], event["new_state"]) for event in events]
    lost = story.index(("NODE_LOST", "nodes/n2", "LOST"))
    degraded = story.index(("ASSEMBLY_STATE", "assemblies/demo", "DEGRADED"))
    released = story.index(("NODE_RELEASED", "nodes/n2", "RELEASED"))
    assigned = next(i for i, event in enumerate(events) if event["kind"] == "SHARDS_ASSIGNED" and i > released)
    ready = story.index(("ASSEMBLY_STATE", "assemblies/demo", "READY"))
    assert lost < degraded < released < assigned < ready
    assert events[assigned]["node"] in ("nodes/n1", "nodes/n3")
    assert all(event["cause"] for event in events)
    positions = [(int(event["revision"]), event["sequence"]) for event in events]
    assert positions == sorted(set(positions))

    def followed():
        lines = [json.loads(line) for line in follow.output().splitlines()]
        return [line for line in lines if line["kind"] == "ASSEMBLY_STATE" and line["new_state"] == "READY"]

    eventually(followed, "the follower saw READY, too")
    assert follow.terminate()[0] == 0


def test_events_of_a_node_and_filters(cluster):
    api = cluster.api()
    add_assembly(api, add_model(api))
    Node(api, "n1").join()
    Node(api, "n2")
    eventually(lambda: api.assembly("demo").generation, "a plan is made")

    of_n2 = cluster.muster("events", "--node", "n2").stdout.splitlines()
    of_model = cluster.muster("events", "--model", "llama@v1", "--kind", "VERSION_COMMITTED", "--json").stdout
    last = cluster.muster("events", "--tail", 1).stdout.splitlines()

    assert of_n2[0].split()[:4] == ["TIME", "REVISION", "KIND", "SUBJECT"]
    assert len(of_n2) == 2 and "NODE_REGISTERED" in of_n2[1]
    assert [json.loads(line)["new_state"] for line in of_model.splitlines()] == ["COMMITTED"]
    assert len(last) == 2


def test_follow_goes_on_over_a_restart_without_gap_or_repeat(cluster):
    api = cluster.api()
    follow = cluster.spawn_muster(
        "follow", "events", "--follow", "--since", "0", "--kind", "node-registered", "--json"
    )

    def names():
        return [json.loads(line)["node"] for line in follow.output().splitlines() if line.startswith("{")]

    for number in range(6):
        Node(api, f"n{number}")
        if number % 2:
            # Sent or not, whatever the follower had read when the server went away.
            cluster.kill_server()
            cluster.start_server()
    eventually(lambda: len(names()) >= 6 or not follow.running(), "all are followed", 40)

    assert names() == [f"nodes/n{number}" for number in range(6)]


@pytest.mark.parametrize("count", [10, 1000])
def test_status_is_a_picture_that_fits_a_terminal(cluster, count):
    api = cluster.api()
    model = add_model(api, shards=2 * count)
    add_assembly(api, model, min_nodes=count)
    nodes = [Node(api, f"n{i:04}").join() for i in range(count)]
    eventually(lambda: api.assembly("demo").replicas_required == 2 * count, "it is planned")
    # What fails has to be seen among all that is well.
    held = nodes[count // 2].replicas()
    failure = {"code": "NO_SPACE", "message": "the disk is full"}
    nodes[count // 2].report([min(held)], state="FAILED", failure=failure)

    text = cluster.muster("status", "demo").stdout
    lines = text.splitlines()
    assert len(lines) <= 40, text
    assert all(len(line) <= 100 for line in lines[3:]), text
    assert "NO_SPACE: the disk is full" in text
    row = next(line for line in lines if line.startswith(f"n{count // 2:04}") and "%" in line)
    assert "!" in row, text
    hidden = [line for line in lines if "more nodes" in line]
    assert len(hidden) == (1 if count == 1000 else 0), text
    everything = cluster.muster("status", "demo", "--all").stdout
    assert len([line for line in everything.splitlines() if line.startswith("n")]) == 2 * count
