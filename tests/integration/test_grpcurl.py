"""The real grpcurl, with no proto files: what the documentation shows is what it says."""

import json
import os
import pathlib
import subprocess

import pytest
from harness.conditions import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ["muster.v1.AssemblyService", "muster.v1.EventService", "muster.v1.ModelService", "muster.v1.NodeService"]
MIB = 1 << 20


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


def add_model(api, model="llama", version="v1", shards=4):
    """A committed model version of made-up shards: the server never looks at the bytes."""
    name = f"models/{model}/versions/{version}"
    api.models.CreateModelVersion(model_version={"name": name, "shard_count": shards})
    api.models.AddShards(
        name=name,
        shards=[
            {"index": i, "size_bytes": MIB + i, "md5": f"{i:032x}", "locations": [{"uri": f"file:///nowhere/{i}"}]}
            for i in range(shards)
        ],
    )
    api.models.CommitModelVersion(name=name)
    return name


def add_ready_assembly(api, model, name="demo", node="n9"):
    """One node that says that it holds everything."""
    api.assemblies.CreateAssembly(
        assembly={"name": f"assemblies/{name}", "model_version": model, "policy": "FULL", "min_nodes": 1}
    )
    epoch = api.nodes.RegisterNode(node={"name": f"nodes/{node}"}, lease_ttl={"seconds": 600}).epoch
    api.assemblies.JoinAssembly(name=f"assemblies/{name}", node=f"nodes/{node}", epoch=epoch, claim={"kind": "ANY"})
    generation = eventually(lambda: api.assembly(name).generation, "a plan is made")
    count = api.assembly(name).shard_count
    api.assemblies.ReportShards(
        node=f"nodes/{node}",
        epoch=epoch,
        assembly=f"assemblies/{name}",
        reports=[{"shard": i, "generation": generation, "state": "READY"} for i in range(count)],
    )


def test_list_and_describe_show_the_services(grpcurl):
    listed = grpcurl("list").stdout.split()
    methods = {service: grpcurl("list", service).stdout.split() for service in SERVICES}
    described = grpcurl("describe", "muster.v1.ModelService.GetShard").stdout

    assert set(SERVICES) <= set(listed)
    assert {"grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} <= set(listed)
    assert "muster.v1.ModelService.CommitModelVersion" in methods["muster.v1.ModelService"]
    assert "muster.v1.AssemblyService.WatchAssembly" in methods["muster.v1.AssemblyService"]
    assert "muster.v1.NodeService.Heartbeat" in methods["muster.v1.NodeService"]
    assert "rpc GetShard ( .muster.v1.GetShardRequest ) returns ( .muster.v1.GetShardResponse )" in described
    message = grpcurl("describe", "muster.v1.Shard").stdout
    assert "size_bytes" in message and "piece_md5s" in message


def test_the_calls_of_the_documentation_work_as_typed(cluster, grpcurl):
    api = cluster.api()
    add_ready_assembly(api, add_model(api))

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


def test_watch_until_ready_ends_when_it_is_reached(cluster, grpcurl):
    api = cluster.api()
    model = add_model(api)
    api.assemblies.CreateAssembly(
        assembly={"name": "assemblies/later", "model_version": model, "policy": "BALANCED", "min_nodes": 1}
    )
    words = ["muster.v1.AssemblyService/WatchAssembly"]
    path = os.environ.get("GRPCURL", str(ROOT / "build/tools/grpcurl"))
    watch = cluster.spawn(
        "grpcurl-watch",
        [path, "-plaintext", "-d", '{"name":"assemblies/later","until":"READY"}', cluster.address, *words],
    )
    eventually(lambda: "WAITING" in watch.output(), "the watch shows the present state")

    epoch = api.nodes.RegisterNode(node={"name": "nodes/n1"}, lease_ttl={"seconds": 600}).epoch
    api.assemblies.JoinAssembly(name="assemblies/later", node="nodes/n1", epoch=epoch, claim={"kind": "ANY"})
    generation = eventually(lambda: api.assembly("later").generation, "a plan is made")
    assert watch.running()
    api.assemblies.ReportShards(
        node="nodes/n1",
        epoch=epoch,
        assembly="assemblies/later",
        reports=[{"shard": i, "generation": generation, "state": "READY"} for i in range(4)],
    )

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
