"""Starts, stops, losses and returns of server and agents; lists and request ids over restarts; the installed package."""

import os
import subprocess
import threading

import pytest
from harness import checkpoints
from harness.api import DEGRADED, READY, ApiError, assembly_pb2
from harness.conditions import always, eventually
from harness.examples import build_example

SHARDS = 4
STOP_SECONDS = 5.0


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=2))


@pytest.fixture(name="loaded")
def load(cluster, source):
    """A READY assembly on three nodes that are lost after 2 s without a heartbeat; its agents."""
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = cluster.start_agents(3, "demo", "--lease-ttl", "2s")
    cluster.wait_ready("demo")
    return agents


def reasons(api):
    return [assembly_pb2.AssemblyReason.Code.Name(reason.code) for reason in api.assembly("demo").reasons]


# --- the server stops and starts


def test_server_stops_within_five_seconds_with_watches_open(cluster, loaded):
    api = cluster.api()
    ended = []

    def watch(begin):
        try:
            for _ in begin():
                pass
        except Exception as error:  # pylint: disable=broad-exception-caught
            ended.append(error.code().name)

    epoch = api.nodes.RegisterNode(node={"name": "nodes/watcher"}, lease_ttl={"seconds": 600}).epoch
    streams = [lambda: api.assemblies.WatchAssembly(name="assemblies/demo", timeout=60)] * 10
    streams += [lambda: api.assemblies.WatchAssignments(node="nodes/watcher", epoch=epoch, timeout=60)] * 10
    threads = [threading.Thread(target=watch, args=(stream,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    wait = cluster.spawn_muster("wait", "wait", "demo", "--node", "absent", "--timeout", "60s")
    eventually(lambda: "READY" in wait.output() or wait.output(), "the wait has begun")

    code, seconds = cluster.server.terminate()

    assert code == 0
    assert seconds < STOP_SECONDS
    for thread in threads:
        thread.join(20)
    assert ended == ["UNAVAILABLE"] * len(streams)
    assert all(agent.running() for agent in loaded)
    assert "stop=done" in cluster.server.output()


def test_server_stops_at_once_with_nothing_going_on(cluster):
    code, seconds = cluster.server.terminate()

    assert code == 0
    assert seconds < 1.5


def test_server_logs_request_counts_at_its_end(cluster):
    cluster.muster("models")
    cluster.server.terminate()

    assert "rpc=ListModelVersions count=1" in cluster.server.output()


def test_agents_survive_a_restart_and_ready_returns(cluster, loaded):
    cluster.server.terminate()
    cluster.start_server()
    api = cluster.api()

    eventually(lambda: api.is_ready("demo"), "READY after the restart")
    always(lambda: api.is_ready("demo"), "READY stays, past a lease", 3.0)
    assert all(agent.running() for agent in loaded)


def test_agents_survive_a_long_outage(cluster, loaded):
    """The server comes back after every lease has run out: no node is lost for that (docs/design.md, section 5)."""
    cluster.kill_server()
    always(lambda: all(agent.running() for agent in loaded), "agents run without a server", 3.0)
    cluster.start_server()
    api = cluster.api()

    eventually(lambda: api.is_ready("demo"), "READY after the outage")
    assert all(agent.running() for agent in loaded)


def test_wait_survives_a_restart(cluster, source):
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1")
    wait = cluster.spawn_muster("wait", "wait", "demo", "--timeout", "60s")
    eventually(wait.output, "the wait has begun")
    cluster.kill_server()
    cluster.start_server()
    cluster.start_agents(1, "demo")

    assert wait.wait(60) == 0


def test_agents_of_a_forgotten_server_register_again(cluster, loaded):
    """The data directory is lost; the agents learn that they are unknown, and come back by themselves."""
    cluster.kill_server()
    cluster.data_dir = cluster.directory / "another-data-dir"
    cluster.start_server()
    api = cluster.api()

    eventually(lambda: len(api.nodes.ListNodes().nodes) == 3, "the nodes register again", 40)
    assert loaded


def test_revisions_and_ids_go_on_after_restarts(cluster):
    api = cluster.api()
    seen = 0
    for number in range(4):
        reply = api.nodes.RegisterNode(node={"name": f"nodes/n{number}"}, lease_ttl={"seconds": 600})
        assert reply.revision > seen
        assert reply.epoch > seen
        seen = reply.revision
        cluster.kill_server()
        cluster.start_server()
    assert len({node.uid for node in api.nodes.ListNodes().nodes}) == 4


# --- agents stop and start


def test_agent_restart_reports_from_its_cache_without_fetching(cluster, loaded):
    for agent in loaded:
        agent.kill()
    for path in cluster.store.rglob("*"):
        if path.is_file():
            path.rename(path.with_suffix(".away"))
    api = cluster.api()
    epochs = {node.name: node.epoch for node in api.nodes.ListNodes().nodes}

    again = cluster.start_agents(3, "demo", "--lease-ttl", "2s")

    def registered_again():
        return all(node.epoch > epochs[node.name] for node in api.nodes.ListNodes().nodes)

    eventually(registered_again, "the agents register again")
    cluster.wait_ready("demo", timeout=30)
    assert all(agent.running() for agent in again)


def test_agent_stops_at_sigterm_and_stays_a_member(cluster, loaded):
    code, seconds = loaded[0].terminate()

    assert code == 0
    assert seconds < STOP_SECONDS
    assert cluster.api().assembly("demo").nodes_joined == 3


def test_agent_that_leaves_at_its_end_is_no_member_any_more(cluster, source):
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    agent = cluster.start_agent("n1", "demo", "--on-stop", "deregister")
    cluster.wait_ready("demo")

    assert agent.terminate()[0] == 0

    api = cluster.api()
    assert api.assembly("demo").nodes_joined == 0
    assert not api.nodes.ListNodes().nodes


def test_lost_node_degrades_the_assembly_until_it_returns(cluster, loaded):
    api = cluster.api()
    loaded[1].kill()

    eventually(lambda: api.assembly("demo").state == DEGRADED, "DEGRADED once the lease ran out")

    assert "NODE_LOST" in reasons(api)
    lost = [reason for reason in api.assembly("demo").reasons if reason.node]
    assert "nodes/n2" in {reason.node for reason in lost}
    waiting = cluster.wait_ready("demo", timeout=1, check=False)
    assert waiting.code == 3
    assert "n2" in waiting.text
    assert "n2" in cluster.muster("status", "demo").stdout
    cluster.start_agent("n2", "demo", "--lease-ttl", "2s", name="agent-n2-again")
    cluster.wait_ready("demo")
    assert not reasons(api)


def test_paused_agent_is_lost_and_returns_by_its_heartbeat(cluster, loaded):
    api = cluster.api()
    os.kill(loaded[0].pid, 19)
    try:
        eventually(lambda: api.assembly("demo").state == DEGRADED, "DEGRADED once the lease ran out")
    finally:
        os.kill(loaded[0].pid, 18)

    eventually(lambda: api.assembly("demo").state == READY, "READY after a heartbeat of the same epoch")


# --- request ids


def test_request_id_gives_the_first_reply_again_also_after_a_restart(cluster):
    api = cluster.api()
    node = {"name": "nodes/n1", "capacity_bytes": 5}
    first = api.nodes.RegisterNode(node=node, request_id="r1")
    again = api.nodes.RegisterNode(node=node, request_id="r1")
    cluster.kill_server()
    cluster.start_server()
    after = api.nodes.RegisterNode(node=node, request_id="r1")

    assert first.epoch == again.epoch == after.epoch
    assert api.nodes.RegisterNode(node=node, request_id="r2").epoch > first.epoch
    with pytest.raises(ApiError) as caught:
        api.nodes.RegisterNode(node={"name": "nodes/n1", "capacity_bytes": 6}, request_id="r1")
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_validate_only_stores_nothing(cluster):
    api = cluster.api()
    version = {"name": "models/m/versions/v1", "shard_count": 1}
    before = api.models.ListModelVersions().revision

    api.models.CreateModelVersion(model_version=version, validate_only=True, request_id="r1")
    api.nodes.RegisterNode(node={"name": "nodes/n1"}, validate_only=True)

    listed = api.models.ListModelVersions()
    assert not listed.model_versions
    assert listed.revision == before
    api.models.CreateModelVersion(model_version=version, request_id="r1")


# --- lists


def test_paging_goes_on_over_a_restart_and_returns_each_name_once(cluster):
    api = cluster.api()
    names = [f"nodes/n{number:02}" for number in range(25)]
    for name in reversed(names):
        api.nodes.RegisterNode(node={"name": name}, lease_ttl={"seconds": 600})
    found, token = [], ""
    while True:
        page = api.nodes.ListNodes(page_size=4, page_token=token)
        found += [node.name for node in page.nodes]
        token = page.next_page_token
        if not token:
            break
        if len(found) in (8, 16):
            cluster.kill_server()
            cluster.start_server()
            # What comes in between, before and behind the page, changes nothing for the others.
            api.nodes.RegisterNode(node={"name": f"nodes/a{len(found)}"}, lease_ttl={"seconds": 600})
            api.nodes.DeregisterNode(name=f"nodes/a{len(found)}")

    assert found == names


# --- the installed package


@pytest.mark.limit(400)
def test_example_builds_and_runs_against_the_installed_package(cluster, source, tmp_path):
    program, prefix = build_example("list_and_wait", tmp_path)
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1")
    cluster.start_agents(1, "demo")

    example = cluster.spawn("example", [program, cluster.address, "llama@v1", "demo", "60"])

    assert example.wait(70) == 0, example.output()
    assert "models/llama/versions/v1: COMMITTED" in example.output()
    assert f"shard {SHARDS - 1}: " in example.output()
    for name in ("muster", "musterd"):
        version = subprocess.run([prefix / "bin" / name, "--version"], capture_output=True, text=True, check=False)
        assert version.returncode == 0
        assert version.stdout.startswith(name)


@pytest.mark.parametrize("name", ["musterd", "muster"])
def test_help_documents_exit_codes_and_examples(cluster, name):
    directory = os.environ["MUSTER_BIN_DIR"]
    shown = subprocess.run([f"{directory}/{name}", "--help"], capture_output=True, text=True, check=False)

    assert shown.returncode == 0
    assert "Exit codes" in shown.stdout
    assert "Examples" in shown.stdout
    assert cluster


@pytest.mark.parametrize(
    "command",
    ["publish", "agent", "wait", "status", "models", "shards", "nodes", "assemblies", "assemble", "pull", "verify", "sample"],
)
def test_every_command_has_help(cluster, command):
    shown = cluster.muster(command, "--help")

    assert "Examples" in shown.stdout
