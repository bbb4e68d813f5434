"""What calls of the API promise beside the life of a model: preconditions, filters, batches, updates."""

import pytest
from harness.api import ApiError, node_pb2

VERSION = "models/m/versions/v1"


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


