"""Whose a node's name is: an agent that comes back has it at once, another machine's gets it once nobody lives under it."""

import shutil
import stat

import pytest
from harness import checkpoints
from harness.conditions import always, eventually
from harness.views import await_line, lines_with

FENCED_EXIT_CODE = 5
TAKEN_EXIT_CODE = 7
# Long enough to tell an agent that waited for its end from one that did not.
TTL_SECONDS = 6


@pytest.fixture(name="source", scope="module")
def write_source(tmp_path_factory):
    return checkpoints.write_safetensors(tmp_path_factory.mktemp("source") / "model.safetensors", checkpoints.transformer())


@pytest.fixture(name="named")
def publish(cluster, source):
    """n1 is registered, READY, and has an address."""
    cluster.publish(source, "llama@v1")
    cluster.create_assembly("demo", "llama@v1", policy="full")
    return cluster


def start(cluster, name, *args, cache=None):
    lease = ("--lease-ttl", f"{TTL_SECONDS}s", "--address", f"host-of-{name}")
    return cluster.start_agent("n1", "demo", *lease, *args, name=name, cache=cache)


def epoch_of(cluster):
    return cluster.api().nodes.GetNode(name="nodes/n1").node.epoch


def test_killed_agent_has_its_name_back_at_once(named):
    first = start(named, "first")
    named.wait_ready("demo")
    first.kill()

    second = start(named, "second")

    # Nothing of the lease has to pass: the node is never lost.
    await_line(second, "registered")
    named.wait_ready("demo")
    assert not lines_with(second, "name_taken")
    events = named.api().events.ListEvents(page_size=1000).events
    states = [event.new_state for event in events if event.node == "nodes/n1"]
    assert "LOST" not in states


def test_identity_is_for_the_agents_eyes_alone(named):
    agent = start(named, "first")
    named.wait_ready("demo")

    path = named.cache("n1") / ".nodes" / "n1" / "identity"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    identity = path.read_text().strip()
    for text in (agent.output(), named.server.output(), named.muster("nodes", "show", "n1", "--json").text):
        assert identity not in text
    for file in (named.directory / "data").rglob("*"):
        assert not file.is_file() or identity.encode() not in file.read_bytes()


@pytest.mark.limit(180)
def test_second_agent_with_the_name_gives_up_and_harms_nobody(named):
    first = start(named, "first")
    named.wait_ready("demo")
    epoch = epoch_of(named)

    second = start(named, "second", cache=named.cache("elsewhere"))

    line = await_line(second, "name_taken")
    assert "host-of-first" in line and "registered=" in line and "lease_left_ms=" in line
    assert second.wait(10 * TTL_SECONDS) == TAKEN_EXIT_CODE
    assert len(lines_with(second, "name_taken")) == 3, "it is told once, then counted"
    assert "alive" in second.output() and "--take-over" in second.output()
    assert epoch_of(named) == epoch
    assert first.running()
    assert named.api().is_ready("demo")


def test_agent_without_its_cache_gets_the_name_after_the_lease(named):
    first = start(named, "first")
    named.wait_ready("demo")
    first.kill()
    shutil.rmtree(named.cache("n1"))

    second = start(named, "second")

    await_line(second, "name_taken")
    await_line(second, "registered")
    named.wait_ready("demo")
    assert second.running()


def test_name_is_taken_over_on_request(named):
    first = start(named, "first")
    named.wait_ready("demo")

    second = start(named, "second", "--take-over", cache=named.cache("elsewhere"))

    await_line(second, "registered")
    assert first.wait(30) == FENCED_EXIT_CODE
    assert not lines_with(second, "name_taken")
    named.wait_ready("demo")


def test_copied_cache_is_the_same_machine(named):
    """Two machines of one identity: the newer has the name, and the older stops, as a service that is started twice."""
    first = start(named, "first")
    named.wait_ready("demo")
    shutil.copytree(named.cache("n1"), named.cache("copy"), ignore_dangling_symlinks=True)

    second = start(named, "second", cache=named.cache("copy"))

    await_line(second, "registered")
    assert first.wait(30) == FENCED_EXIT_CODE


def test_agent_that_waits_outlives_a_restart_of_the_server(named):
    first = start(named, "first")
    named.wait_ready("demo")
    first.kill()
    second = start(named, "second", cache=named.cache("elsewhere"))
    await_line(second, "name_taken")

    named.kill_server()
    named.start_server()

    eventually(lambda: lines_with(second, "registered"), "it registers once the lease is over", 60)
    always(second.running, "it stays", 1)
