"""Calls of every RPC by one who means harm: valid, half-valid and broken ones, from a printed seed.

MUSTER_HOSTILE_CALLS=1000000 sends more than CI does, MUSTER_HOSTILE_SEED=N other ones.
"""

import collections
import os
import subprocess
import time

import pytest
from harness import checkpoints
from harness.barrage import Barrage, check_barrier, check_others
from harness.call_maker import CallMaker, methods
from harness.cluster import binary
from harness.conditions import eventually

MIB = 1 << 20
CALLS = int(os.environ.get("MUSTER_HOSTILE_CALLS", "60000"))
SEED = int(os.environ.get("MUSTER_HOSTILE_SEED", "15"))
CALLS_BETWEEN_CHECKS = 3_000
# Under a sanitizer calls take several times as long, and memory is not the server's own.
SANITIZED = "san" in os.environ.get("MUSTER_BIN_DIR", "")
# The longer it goes on, the more big requests meet in the buffers of connections, which --connection-bytes allows 1 GiB.
RESIDENT_BYTES = (6_000 if SANITIZED else 600 if CALLS <= 60_000 else 1_500) * MIB
CALL_SECONDS = 60.0 if SANITIZED else 20.0


def start_honest_load(cluster):
    """A model of others that is READY, by a real agent."""
    source = checkpoints.write_safetensors(cluster.directory / "model.safetensors", checkpoints.transformer(layers=1))
    cluster.publish(source, "honest@v1", shards=3)
    cluster.create_assembly("honest", "honest@v1")
    agent = cluster.start_agent("honest", "honest")
    cluster.wait_ready("honest")
    return agent


def resources(api):
    """What is in the catalogue, and which nodes there are."""
    return (
        sorted(version.name for version in api.paged(api.models.ListModelVersions, "model_versions")),
        sorted(node.name for node in api.paged(api.nodes.ListNodes, "nodes")),
        sorted(assembly.name for assembly in api.paged(api.assemblies.ListAssemblies, "assemblies")),
    )


# What nobody gets from a server without an authority, or without a token that the caller does not have.
NEVER_OK = {"CreateJoinToken", "DeleteJoinToken", "Enrol", "RenewCertificate", "ReleaseName"}


@pytest.mark.limit(60 + CALLS // 100)
def test_whatever_is_called_the_server_serves_on_and_tells_the_truth(new_cluster):
    print(f"seed {SEED}, {CALLS} calls")
    cluster = new_cluster()
    master_key = cluster.directory / "master.keys"
    subprocess.run([binary("musterd"), "master-key", "new", master_key], check=True, timeout=60)
    cluster.start_server("--master-key", master_key)
    agent = start_honest_load(cluster)
    api = cluster.api()
    barrage = Barrage(cluster.address, CallMaker(SEED, new_names=min(0.003, 180 / CALLS)), CALL_SECONDS)
    compared, sent, begun = 0, 0, time.monotonic()
    try:
        while sent < CALLS:
            count = min(CALLS_BETWEEN_CHECKS, CALLS - sent)
            barrage.send(count)
            sent += count
            assert cluster.server.running(), f"after {sent} calls: {cluster.server.output()[-4000:]}"
            assert not barrage.problems, "\n".join(barrage.problems[:10])
            compared += check_barrier(api)
            check_others(api)
            resident = cluster.server.resident_bytes()
            if sent % 60_000 == 0:
                print(f"{sent} calls, {resident // MIB} MiB", flush=True)
            assert resident < RESIDENT_BYTES, f"after {sent} calls: {resident // MIB} MiB"
    finally:
        barrage.close()
    seconds = time.monotonic() - begun
    print(f"{sent} calls in {seconds:.0f} s, slowest {barrage.slowest:.2f} s, {compared} assemblies compared")
    print(f"server: {resident // MIB} MiB; {collections.Counter(barrage.codes())}")

    # The calls went deep enough to mean something.
    answered = {method for method, code in barrage.seen if code in ("OK", "stream")}
    assert answered - NEVER_OK == {method.name for _, method in methods()} - NEVER_OK
    assert compared
    assert agent.running(), agent.output()

    before = resources(api)
    code, _ = cluster.server.terminate(timeout=60)
    assert code == 0, cluster.server.output()[-4000:]
    cluster.start_server()
    eventually(lambda: api.is_ready("honest"), "READY after a restart", timeout=60)
    assert resources(api) == before
