"""What calls of the API promise beside the life of a model: preconditions, filters, batches, updates."""

import pytest
from harness import made_up
from harness.api import ApiError, event_pb2, node_pb2
from harness.conditions import eventually

VERSION = "models/m/versions/v1"
USAGE = 2


def register(api, name, **fields):
    return api.nodes.RegisterNode(node={"name": f"nodes/{name}", **fields}, lease_ttl={"seconds": 600}).node


def commit_version(api, shards=4):
    api.models.CreateModelVersion(model_version={"name": VERSION, "shard_count": shards})
    api.models.AddShards(name=VERSION, shards=[shard(i) for i in range(shards)])
    api.models.CommitModelVersion(name=VERSION)


def shard(index, **fields):
    return {"index": index, "size_bytes": 1, "md5": f"{index:032x}", "locations": [{"uri": f"file:///{index}"}], **fields}


# --- uids


def test_calls_with_a_stale_uid_touch_nothing(cluster):
    api = cluster.api()
    stale = register(api, "n1").uid
    api.nodes.DeregisterNode(name="nodes/n1")
    present = register(api, "n1").uid

    for call in (api.nodes.DeregisterNode, api.nodes.DrainNode):
        with pytest.raises(ApiError) as caught:
            call(name="nodes/n1", uid=stale)
        assert (caught.value.code.name, caught.value.reason) == ("FAILED_PRECONDITION", "UID_DIFFERS")
        assert caught.value.metadata["uid"] == stale and caught.value.metadata["present_uid"] == present
        assert stale in caught.value.message and present in caught.value.message

    assert not api.nodes.GetNode(name="nodes/n1").node.HasField("drain")
    api.nodes.DeregisterNode(name="nodes/n1", uid=present)


# --- filters


def test_nodes_are_listed_by_state_zone_and_label(cluster):
    api = cluster.api()
    for i in range(6):
        register(api, f"n{i}", zone=f"z{i % 2}", labels={"gpu": "h100" if i < 4 else "a100"})
    api.nodes.RegisterNode(node={"name": "nodes/none"}, lease_ttl={"seconds": 600})

    def names(**filters):
        nodes = api.paged(api.nodes.ListNodes, "nodes", page_size=1, **filters)
        return [node.name.removeprefix("nodes/") for node in nodes]

    assert names(zone="z1") == ["n1", "n3", "n5"]
    assert names(zone="") == ["none"]
    assert names(zone="z1", labels={"gpu": "h100"}) == ["n1", "n3"]
    assert names(state=node_pb2.Node.LOST) == []
    assert len(names(state=node_pb2.Node.LIVE)) == 7
    assert cluster.muster("nodes", "--zone", "z1", "--label", "gpu=a100", "--state", "live").stdout.count("n5") == 1
    assert "no such nodes" in cluster.muster("nodes", "list", "--state", "LOST", "--zone", "z1").stdout

    token = api.nodes.ListNodes(page_size=1, zone="z1").next_page_token
    for fields in ({}, {"zone": "z0"}, {"zone": "z1", "labels": {"gpu": "h100"}}):
        with pytest.raises(ApiError) as caught:
            api.nodes.ListNodes(page_size=1, page_token=token, **fields)
        assert caught.value.reason == "INVALID_PAGE_TOKEN"
    with pytest.raises(ApiError) as caught:
        api.nodes.ListNodes(state=77)
    assert caught.value.metadata["field"] == "state"


# --- batches


def test_batch_says_which_item_failed_and_what_was_stored(cluster):
    api = cluster.api().models
    api.CreateModelVersion(model_version={"name": VERSION, "shard_count": 8, "companion_count": 4})
    api.AddShards(name=VERSION, shards=[shard(0), shard(5)])

    def refused(call, reason, **fields):
        with pytest.raises(ApiError) as caught:
            call(name=VERSION, **fields)
        assert caught.value.reason == reason, caught.value
        return caught.value.metadata["item"], caught.value.metadata["stored"]

    # Shard 0 is there already, which stores nothing; shard 5 is there with other content.
    other = [shard(0), shard(1), shard(2), shard(5, size_bytes=7), shard(3)]
    assert refused(api.AddShards, "SHARD_EXISTS", shards=other) == ("3", "2")
    assert [s.index for s in api.ListShards(name=VERSION).shards] == [0, 1, 2, 5]
    # What can be refused without a look at the state is refused before anything is stored.
    assert refused(api.AddShards, "INVALID_FIELD", shards=[shard(3), shard(4, md5="zz")]) == ("1", "0")

    files = [{"path": path, "size_bytes": 1, "md5": "0" * 32, "locations": [{"uri": "file:///c"}]} for path in ("a", "b", "../c")]
    assert refused(api.AddCompanions, "INVALID_FIELD", companions=files) == ("2", "0")

    entries = [{"shard": i, "location": {"uri": "file:///more"}} for i in (0, 1, 7)]
    assert refused(api.AddLocations, "SHARD_UNKNOWN", entries=entries) == ("2", "2")
    entries = [{"shard": 0, "uri": "file:///more"}, {"shard": 2, "uri": "file:///2"}]
    assert refused(api.RemoveLocations, "LAST_LOCATION", entries=entries) == ("1", "1")


# --- updates


def test_assembly_and_node_are_updated_in_place(cluster):
    api = cluster.api()
    commit_version(api)
    for name in ("n1", "n2"):
        epoch = register(api, name).epoch
        if name == "n1":
            cluster.create_assembly("demo", "m@v1")
        api.assemblies.JoinAssembly(name="assemblies/demo", node=f"nodes/{name}", epoch=epoch, claim={"kind": "ANY"})
    eventually(lambda: api.assembly("demo").replicas_required == 4, "each shard is on one node")

    cluster.muster("assemblies", "update", "demo", "--replicas", "2")
    eventually(lambda: api.assembly("demo").replicas_required == 8, "each shard is on both nodes")
    cluster.muster("assemblies", "update", "demo", "--replicas", "1")
    eventually(lambda: api.assembly("demo").replicas_required == 4, "each shard is on one node again")

    cluster.muster("nodes", "update", "n1", "--capacity", "3GiB", "--label", "gpu=h100")
    node = api.nodes.GetNode(name="nodes/n1").node
    assert (node.capacity_bytes, dict(node.labels), node.epoch) == (3 << 30, {"gpu": "h100"}, node.epoch)
    cluster.muster("nodes", "update", "n1", "--capacity", "none", "--no-labels")
    node = api.nodes.GetNode(name="nodes/n1").node
    assert (node.capacity_bytes, dict(node.labels)) == (0, {})

    result = cluster.muster("nodes", "update", "n1", check=False)
    assert result.code == USAGE and "--capacity" in result.stderr
    result = cluster.muster("assemblies", "update", "demo", check=False)
    assert result.code == USAGE and "--replicas" in result.stderr
    kinds = [event.kind for event in api.events.ListEvents(page_size=1000).events]
    assert event_pb2.Event.NODE_UPDATED in kinds and event_pb2.Event.ASSEMBLY_UPDATED in kinds


# --- progress


def test_no_byte_is_both_ready_and_on_its_way(cluster):
    api = cluster.api()
    made_up.add_assembly(api, made_up.add_model(api, shards=3), policy="FULL")
    node = made_up.Node(api, "n1").join()
    eventually(lambda: len(node.replicas()) == 3, "the node has its shards")
    node.report([0, 1], state="FETCHING")
    # More than shard 1 has, and a shard that is not being fetched.
    progress = [{"assembly": "assemblies/demo", "shard": i, "done_bytes": 700_000 * (1 + i)} for i in range(3)]
    api.nodes.Heartbeat(name=node.name, epoch=node.epoch, progress=progress)

    def member():
        return api.assemblies.GetAssembly(name="assemblies/demo").members[0]

    assert member().fetching_bytes == 700_000 + made_up.MIB + 1

    # The heartbeat is older than this report.
    node.report([0])
    assert (member().ready_bytes, member().fetching_bytes) == (made_up.MIB, made_up.MIB + 1)
    assert api.assemblies.ListAssemblyMembers(name="assemblies/demo").members[0].fetching_bytes == made_up.MIB + 1
