"""Calls that one caller makes to harm the others: the server refuses them, goes on, and starts again."""

import hashlib
import os
import subprocess

import grpc
import pytest
from harness.api import Api, ApiError, assembly_pb2, model_pb2, node_pb2
from harness.cluster import binary, free_port
from harness.conditions import eventually

MIB = 1 << 20
SHARDS = 15_000
DRAFTS = 1_000
ANNOUNCED = 10_000_000  # What all drafts together may announce.
FAILED_CALLS = 10_000
REQUEST_IDS = 100_000
VERSION = "models/llama/versions/v1"
ASSEMBLY = "assemblies/demo"


def publish(api, shards, version=VERSION):
    api.models.CreateModelVersion(model_version=model_pb2.ModelVersion(name=version, shard_count=shards))
    for begin in range(0, shards, 1_000):
        batch = [
            model_pb2.Shard(
                index=index,
                size_bytes=1_000,
                md5=hashlib.md5(str(index).encode()).hexdigest(),
                locations=[model_pb2.Location(uri=f"file:///{index}")],
            )
            for index in range(begin, min(begin + 1_000, shards))
        ]
        api.models.AddShards(name=version, shards=batch)
    api.models.CommitModelVersion(name=version)


def register(api, node):
    return api.nodes.RegisterNode(node=node_pb2.Node(name=node)).epoch


def create_assembly(api, policy="BALANCED"):
    number = assembly_pb2.Assembly.Policy.Value(policy)
    api.assemblies.CreateAssembly(
        assembly=assembly_pb2.Assembly(name=ASSEMBLY, model_version=VERSION, policy=number)
    )


def expect_refused(call, reason, field):
    with pytest.raises(ApiError) as refused:
        call()
    assert refused.value.reason == reason, refused.value
    assert refused.value.metadata.get("field") == field, refused.value


def restart(cluster):
    """It ends as asked, and comes back: nothing that was stored keeps it from doing so."""
    assert cluster.server.running(), cluster.server.output()
    code, _ = cluster.server.terminate()
    assert code == 0, cluster.server.output()
    cluster.start_server()


def test_claim_with_the_list_of_another_kind_is_refused(cluster):
    api = cluster.api()
    publish(api, 1)
    epoch = register(api, "nodes/n1")
    create_assembly(api)

    def join(kind, shards, ranks):
        claim = assembly_pb2.Claim(kind=kind, shards=shards, ranks=ranks)
        return api.assemblies.JoinAssembly(name=ASSEMBLY, node="nodes/n1", epoch=epoch, claim=claim)

    expect_refused(lambda: join(assembly_pb2.Claim.SHARDS, [0], range(200_000)), "INVALID_FIELD", "ranks")
    expect_refused(lambda: join(assembly_pb2.Claim.RANKS, range(200_000), [0]), "INVALID_FIELD", "shards")

    join(assembly_pb2.Claim.ANY, [], [])
    restart(cluster)


def test_failures_of_15000_codes_are_refused(cluster):
    api = cluster.api()
    publish(api, SHARDS)
    epoch = register(api, "nodes/n1")
    create_assembly(api)
    claim = assembly_pb2.Claim(kind=assembly_pb2.Claim.ANY)
    api.assemblies.JoinAssembly(name=ASSEMBLY, node="nodes/n1", epoch=epoch, claim=claim)

    def generation():
        return api.assembly("demo").generation

    eventually(generation, "the first plan")

    def report(begin, code_of):
        reports = [
            assembly_pb2.ShardReport(
                shard=shard,
                generation=generation_now,
                state=assembly_pb2.ShardReport.FAILED,
                failure=assembly_pb2.ShardFailure(code=code_of(shard)),
            )
            for shard in range(begin, begin + 1_000)
        ]
        api.assemblies.ReportShards(node="nodes/n1", epoch=epoch, assembly=ASSEMBLY, reports=reports)

    generation_now = generation()
    for begin in range(0, SHARDS, 1_000):
        expect_refused(lambda begin=begin: report(begin, lambda shard: -1 - shard), "INVALID_FIELD", "failure.code")
    for begin in range(0, SHARDS, 1_000):
        report(begin, lambda shard: shard % 7)
    restart(cluster)


def test_empty_drafts_take_little_memory(cluster):
    api = cluster.api()
    before = cluster.server.resident_bytes()

    def announce(number):
        version = model_pb2.ModelVersion(name=f"models/m/versions/v{number}", shard_count=ANNOUNCED // DRAFTS)
        api.models.CreateModelVersion(model_version=version)

    for number in range(DRAFTS):
        announce(number)
    expect_refused(lambda: announce(DRAFTS), "TOO_MANY_ITEMS", "shard_count")
    # 480 MB, if what was announced were made room for.
    assert cluster.server.resident_bytes() - before < 100 * MIB
    restart(cluster)
    assert cluster.server.resident_bytes() - before < 100 * MIB


def test_calls_go_on_while_nobody_reads_the_log(tmp_path):
    listen = f"127.0.0.1:{free_port()}"
    address_file = tmp_path / "address"
    reader, writer = os.pipe()
    command = [binary("musterd"), "--data-dir", tmp_path / "data", "--listen", listen, "--address-file", address_file]
    server = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    try:
        eventually(address_file.exists, "musterd serves")
        api = Api(listen)
        try:
            for number in range(FAILED_CALLS):
                with pytest.raises(ApiError):
                    api.nodes.GetNode(name=f"nodes/unknown-{number}")
                if number % 1_000 == 0:
                    # What would wait behind a log line on the committer's thread.
                    register(api, f"nodes/n{number}")
        finally:
            api.close()
        server.terminate()
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.wait()
        os.close(reader)


def test_members_with_large_claims_are_shown_in_pages(cluster):
    """40 claims of 50,000 shards are 6 MB; a message has 4 MiB."""
    api, shards, nodes = cluster.api(), 50_000, 40
    publish(api, shards)
    api.assemblies.CreateAssembly(
        assembly=assembly_pb2.Assembly(
            name=ASSEMBLY, model_version=VERSION, policy=assembly_pb2.Assembly.DECLARED, min_nodes=10_000
        )
    )
    claim = assembly_pb2.Claim(kind=assembly_pb2.Claim.SHARDS, shards=range(shards))
    for number in range(nodes):
        node = f"nodes/n{number:02}"
        api.assemblies.JoinAssembly(name=ASSEMBLY, node=node, epoch=register(api, node), claim=claim)

    shown = api.assemblies.GetAssembly(name=ASSEMBLY)
    listed = api.paged(api.assemblies.ListAssemblyMembers, "members", name=ASSEMBLY)

    assert shown.ByteSize() < 2 * MIB
    assert [member.node for member in shown.members] == [f"nodes/n{number:02}" for number in range(nodes)]
    assert all(member.claim_cut and list(member.claim.shards) == list(range(500)) for member in shown.members)
    assert [member.node for member in listed] == [member.node for member in shown.members]
    assert all(not member.claim_cut and member.claim == claim for member in listed)
    restart(cluster)


@pytest.mark.limit(300)
def test_caller_that_uses_up_its_request_ids_locks_nobody_else_out(cluster):
    api, other = cluster.api(), Api(cluster.address)
    register(api, "nodes/n1")
    drain = api.channel.unary_unary(
        "/muster.v1.NodeService/DrainNode",
        request_serializer=node_pb2.DrainNodeRequest.SerializeToString,
        response_deserializer=node_pb2.DrainNodeResponse.FromString,
    )
    refused, calls = None, 0
    while refused is None and calls < REQUEST_IDS:
        batch = [
            drain.future(
                node_pb2.DrainNodeRequest(name="nodes/n1", cancel=True, request_id=f"greedy-{calls + i}"), timeout=60
            )
            for i in range(1_000)
        ]
        calls += len(batch)
        refused = next((call for call in batch if call.code() != grpc.StatusCode.OK), None)
    assert refused is not None and refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, f"after {calls} calls"
    assert "of this connection" in refused.details()

    created = other.models.CreateModelVersion(
        model_version=model_pb2.ModelVersion(name="models/m/versions/v1", shard_count=1), request_id="another caller's"
    )
    assert created.model_version.uid
    node = api.nodes.RegisterNode(node=node_pb2.Node(name="nodes/n2"), request_id="a node behind the same connection")
    assert node.epoch
    other.close()
