"""The real grpcurl, with no proto files: what the documentation shows is what it says."""

import json
import os
import pathlib
import subprocess

import pytest
from harness.conditions import eventually
from harness.made_up import MIB, Node, add_assembly, add_model, make_ready

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = [
    "muster.v1.AccessService", "muster.v1.AssemblyService", "muster.v1.EnrolmentService", "muster.v1.EventService",
    "muster.v1.KeyService", "muster.v1.ModelService", "muster.v1.NodeService", "muster.v1.ServerService",
]  # fmt: skip


@pytest.fixture(name="grpcurl")
def make_grpcurl(cluster):
    path = os.environ.get("GRPCURL", str(ROOT / "build/tools/grpcurl"))
    assert os.access(path, os.X_OK), f"{path} is missing; run tests/setup_tools.sh"
    port = cluster.address.rsplit(":", 1)[1]

    def run(*words, request=None, check=True):
        data = ["-d", request] if request else []
        command = [path, "-plaintext", *data, f":{port}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done

    return run


def add_ready_assembly(api):
    """One node that says that it holds everything."""
    add_assembly(api, add_model(api), policy="FULL")
    make_ready(api, [Node(api, "n9").join()])


def test_list_and_describe_show_the_services(grpcurl):
    listed = grpcurl("list").stdout.split()
    methods = {service: grpcurl("list", service).stdout.split() for service in SERVICES}
    described = grpcurl("describe", "muster.v1.ModelService.GetShard").stdout

    assert set(SERVICES) <= set(listed)
    assert {"grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} <= set(listed)
    assert "muster.v1.ModelService.CommitModelVersion" in methods["muster.v1.ModelService"]
    assert "muster.v1.AssemblyService.WatchAssembly" in methods["muster.v1.AssemblyService"]
    assert "muster.v1.AssemblyService.ExplainAssignment" in methods["muster.v1.AssemblyService"]
    assert "muster.v1.NodeService.Heartbeat" in methods["muster.v1.NodeService"]
    assert "muster.v1.NodeService.DrainNode" in methods["muster.v1.NodeService"]
    assert "muster.v1.EventService.ListEvents" in methods["muster.v1.EventService"]
    assert "rpc GetShard ( .muster.v1.GetShardRequest ) returns ( .muster.v1.GetShardResponse )" in described
    message = grpcurl("describe", "muster.v1.Shard").stdout
    assert "size_bytes" in message and "piece_md5s" in message


def test_the_calls_of_the_documentation_work_as_typed(cluster, grpcurl):
    api = cluster.api()
    add_ready_assembly(api)

    shard = json.loads(
        grpcurl("muster.v1.ModelService/GetShard", request='{"name":"models/llama/versions/v1/shards/3"}').stdout
    )
    status = json.loads(
        grpcurl("muster.v1.AssemblyService/GetShardStatus", request='{"name":"assemblies/demo","shard":3}').stdout
    )
    watch = grpcurl("muster.v1.AssemblyService/WatchAssembly", request='{"name":"assemblies/demo","until":"READY"}')
    node = json.loads(
        grpcurl(
            "muster.v1.NodeService/RegisterNode",
            request='{"node":{"name":"nodes/n1","capacity_bytes":"1000000"},"lease_ttl":"600s"}',
        ).stdout
    )

    assert shard["shard"]["size_bytes"] == str(MIB + 3)
    assert shard["shard"]["md5"] == f"{3:032x}"
    assert int(shard["revision"]) > 0
    assert "nodes/n9" in json.dumps(status)
    assert '"state": "READY"' in watch.stdout
    assert node["node"]["capacity_bytes"] == "1000000"
    assert node["node"]["lease_ttl"] == "600s"
    assert int(node["epoch"]) > 0


def test_drains_events_and_explanations_are_a_call_each(cluster, grpcurl):
    api = cluster.api()
    add_ready_assembly(api)

    explained = json.loads(
        grpcurl("muster.v1.AssemblyService/ExplainAssignment", request='{"name":"assemblies/demo","shard":3}').stdout
    )
    drained = json.loads(
        grpcurl("muster.v1.NodeService/DrainNode", request='{"name":"nodes/n9","deadline":"60s"}').stdout
    )
    listed = json.loads(
        grpcurl("muster.v1.EventService/ListEvents", request='{"filter":{"node":"nodes/n9"},"tail":100}').stdout
    )
    described = grpcurl("describe", "muster.v1.EventService.ListEvents").stdout

    assert [(node["node"], node["outcome"]) for node in explained["nodes"]] == [("nodes/n9", "HOLDS")]
    assert explained["nodes"][0]["rule"] in ("EVERY_NODE", "STICKY")
    assert explained["nodes"][0]["message"]
    assert drained["node"]["drain"]["state"] == "DRAINING"
    assert drained["node"]["drain"]["shards_left"] == 4
    kinds = [event["kind"] for event in listed["events"]]
    assert kinds[0] == "NODE_REGISTERED"
    assert kinds[-1] == "NODE_DRAIN"
    assert listed["events"][-1]["cause"] == "DrainNode"
    assert "rpc ListEvents ( .muster.v1.ListEventsRequest ) returns ( .muster.v1.ListEventsResponse )" in described


def test_updates_and_preconditions_are_a_call_each(cluster, grpcurl):
    api = cluster.api()
    add_ready_assembly(api)
    uid = api.nodes.GetNode(name="nodes/n9").node.uid

    node = json.loads(
        grpcurl(
            "muster.v1.NodeService/UpdateNode",
            request='{"node":{"name":"nodes/n9","capacity_bytes":"5000000000"},"uid":"%s",' % uid
            + '"update_mask":{"paths":["capacity_bytes"]}}',
        ).stdout
    )
    assembly = json.loads(
        grpcurl(
            "muster.v1.AssemblyService/UpdateAssembly",
            request='{"assembly":{"name":"assemblies/demo","min_nodes":3},"update_mask":{"paths":["min_nodes"]}}',
        ).stdout
    )
    lost = grpcurl("muster.v1.NodeService/ListNodes", request='{"state":"LOST","zone":"z1","labels":{"gpu":"h100"}}').stdout

    assert node["node"]["capacity_bytes"] == "5000000000"
    assert assembly["assembly"]["min_nodes"] == 3
    assert "nodes" not in json.loads(lost)


def test_watch_until_ready_ends_when_it_is_reached(cluster, grpcurl):
    api = cluster.api()
    add_assembly(api, add_model(api), "later")
    words = ["muster.v1.AssemblyService/WatchAssembly"]
    path = os.environ.get("GRPCURL", str(ROOT / "build/tools/grpcurl"))
    watch = cluster.spawn(
        "grpcurl-watch",
        [path, "-plaintext", "-d", '{"name":"assemblies/later","until":"READY"}', cluster.address, *words],
    )
    eventually(lambda: "WAITING" in watch.output(), "the watch shows the present state")

    node = Node(api, "n1").join("later")
    eventually(lambda: len(node.replicas("later")) == 4, "a plan is made")
    assert watch.running()
    node.report_all("later")

    assert watch.wait(20) == 0
    assert '"READY"' in watch.output()


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_has_a_named_entry_per_service(grpcurl, service):
    answer = grpcurl("grpc.health.v1.Health/Check", request=json.dumps({"service": service}))

    assert json.loads(answer.stdout) == {"status": "SERVING"}


def test_health_of_an_unknown_service_is_not_found(grpcurl):
    answer = grpcurl("grpc.health.v1.Health/Check", request='{"service":"muster.v1.Nothing"}', check=False)

    assert answer.returncode != 0
    assert "NotFound" in answer.stderr


def test_channelz_shows_the_server(grpcurl):
    servers = json.loads(grpcurl("grpc.channelz.v1.Channelz/GetServers", request="{}").stdout)["server"]

    assert len(servers) == 1
    assert int(servers[0]["data"]["calls_started"]) > 0


def test_an_error_shows_its_reason_and_values(grpcurl):
    answer = grpcurl(
        "muster.v1.ModelService/GetShard", request='{"name":"models/llama/versions/v9/shards/3"}', check=False
    )

    assert answer.returncode != 0
    assert "NotFound" in answer.stderr
    assert "VERSION_UNKNOWN" in answer.stderr
    assert "v9" in answer.stderr
