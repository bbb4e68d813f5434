"""A server whose data directory is an older copy: agents and waits that know more than it does recover by themselves."""

import shutil
import subprocess

import pytest
from harness import checkpoints
from harness.api import ApiError
from harness.cluster import binary
from harness.conditions import eventually

SHARDS = 4


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=1, width=32))


def copied(cluster):
    """Puts an older copy back, file by file: the history stays the same."""
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data_dir, copy)

    def put_back():
        shutil.rmtree(cluster.data_dir)
        copy.rename(cluster.data_dir)

    return put_back


def backed_up(cluster):
    """Restores a backup: a history of its own."""
    copy = cluster.directory / "copy"
    subprocess.run([binary("musterd"), "backup", cluster.data_dir, "--to", copy], check=True, timeout=60)

    def put_back():
        shutil.rmtree(cluster.data_dir)
        subprocess.run([binary("musterd"), "restore", "--from", copy, "--to", cluster.data_dir], check=True, timeout=60)

    return put_back


def epoch_of(cluster, node):
    return cluster.api().nodes.GetNode(name=f"nodes/{node}").node.epoch


@pytest.mark.parametrize("keep", [copied, backed_up])
def test_agents_that_registered_since_the_copy_register_again(new_cluster, source, keep):
    cluster = new_cluster()
    cluster.start_server("--lease-ttl", "2s")
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    agents = dict(zip(("n1", "n2"), cluster.start_agents(2, "demo")))
    cluster.wait_ready("demo")
    assert cluster.server.terminate()[0] == 0
    put_back = keep(cluster)
    cluster.start_server()
    older = {node: epoch_of(cluster, node) for node in agents}
    # So that no epoch is given out again by chance.
    api = cluster.api()
    for number in range(50):
        api.nodes.RegisterNode(node={"name": f"nodes/other{number}"})
    # n1 registers after the copy; n2 stays what it is.
    agents["n1"].kill()
    agents["n1"] = cluster.start_agent("n1", "demo", name="agent-n1-again")
    cluster.wait_ready("demo")
    newer = epoch_of(cluster, "n1")
    cluster.kill_server()
    put_back()

    cluster.start_server()

    again = ["n1"] if keep is copied else ["n1", "n2"]
    for node in again:
        eventually(lambda: epoch_of(cluster, node) not in (older[node], newer), f"{node} registers again")  # noqa: B023
    cluster.wait_ready("demo")
    assert all(agent.running() for agent in agents.values()), [agent.output() for agent in agents.values()]


def test_watch_does_not_resume_in_another_history(new_cluster, source):
    """Although the revision that it resumes from exists there, too: it means something else."""
    cluster = new_cluster()
    cluster.start_server()
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    api = cluster.api()
    assert cluster.server.terminate()[0] == 0
    put_back = backed_up(cluster)
    cluster.start_server()
    stub = api.assemblies._stub  # pylint: disable=protected-access
    request = api.assemblies._module.WatchAssemblyRequest(name="assemblies/demo")  # pylint: disable=protected-access
    first = next(stub.WatchAssembly(request, timeout=20))
    assert first.history_id
    registered = api.nodes.RegisterNode(node={"name": "nodes/a"})
    assert registered.history_id == first.history_id
    cluster.kill_server()
    put_back()
    cluster.start_server()
    again = eventually(lambda: api.nodes.RegisterNode(node={"name": "nodes/b"}), "the server answers")
    assert again.history_id not in ("", first.history_id)
    api.nodes.RegisterNode(node={"name": "nodes/c"})

    request.start_revision, request.history_id = first.revision, first.history_id
    error = None
    try:
        next(stub.WatchAssembly(request, timeout=20))
    except Exception as caught:  # pylint: disable=broad-except
        error = ApiError("WatchAssembly", caught)

    assert error is not None and error.code.name == "OUT_OF_RANGE"
    assert error.reason == "HISTORY_CHANGED"
    assert error.metadata["history_id"] == again.history_id
    request.history_id = again.history_id
    assert next(stub.WatchAssembly(request, timeout=20)).history_id == again.history_id
