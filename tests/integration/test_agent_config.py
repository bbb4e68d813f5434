"""`muster agent --config`: one agent, many assemblies, changed by SIGHUP while it runs."""

import signal

import pytest
from harness.conditions import always, eventually
from harness.views import await_line, await_view, lines_with, publish_versions, version_in, write_versions


@pytest.fixture(name="published")
def publish(cluster, tmp_path):
    publish_versions(cluster, write_versions(tmp_path / "sources"), shards=4)
    return cluster


@pytest.fixture(name="config")
def make_config(tmp_path):
    return tmp_path / "agent.yaml"


def write(config, tmp_path, *assemblies, **flags):
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"cache": tmp_path / "cache", **flags}.items()]
    config.write_text("\n".join([*lines, "assemblies:", *assemblies, ""]))


def start(cluster, config, *args):
    return cluster.spawn("agent-n1", cluster.muster_command("agent", "--config", config, "--node", "n1", *args))


def with_view(assembly, view):
    return f"  - {{name: {assembly}, view: {view}}}"


def members(cluster, assembly):
    found = cluster.muster("status", assembly, "--json").json()["members"]
    return [member["node"] for member in found]


def test_assemblies_come_and_go_by_sighup(published, config, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write(config, tmp_path, with_view("demo1", one), parallel_shards=1, label="[rack=7, gpu=h100]")
    agent = start(published, config)
    published.wait_ready("demo1")
    await_view(one, "v1")
    node = published.muster("nodes", "show", "n1", "--json").json()["node"]
    assert node["labels"] == {"rack": "7", "gpu": "h100"}

    write(config, tmp_path, with_view("demo1", one), with_view("demo2", two))
    agent.signal(signal.SIGHUP)
    published.wait_ready("demo2")
    await_view(two, "v2")
    assert "wait for a restart" in await_line(agent, "warning"), "other flags are not taken over"
    assert members(published, "demo1") == members(published, "demo2") == ["nodes/n1"]

    write(config, tmp_path, with_view("demo2", two))
    agent.signal(signal.SIGHUP)
    await_line(agent, "left", 'assembly="demo1"')
    eventually(lambda: members(published, "demo1") == [], "the node has left demo1")
    published.wait_ready("demo2")
    assert (version_in(one), version_in(two)) == ("v1", "v2"), "views stay until they are removed"
    assert len(lines_with(agent, "registered")) == 1


def test_view_and_claim_may_change_by_sighup(published, config, tmp_path):
    write(config, tmp_path, "  - demo1")
    agent = start(published, config)
    published.wait_ready("demo1")

    write(config, tmp_path, with_view("demo1", tmp_path / "late"))
    agent.signal(signal.SIGHUP)
    await_view(tmp_path / "late", "v1")

    write(config, tmp_path, f"  - {{name: demo1, claim: all, view: {tmp_path / 'late'}}}")
    agent.signal(signal.SIGHUP)
    await_line(agent, "left", 'assembly="demo1"')
    eventually(lambda: len(lines_with(agent, "joined")) == 2, "it has joined again")
    published.wait_ready("demo1")


def test_bad_change_leaves_everything_as_it_was(published, config, tmp_path):
    write(config, tmp_path, "  - demo1")
    agent = start(published, config)
    published.wait_ready("demo1")

    for text, message in (("assemblies: [", "line "), ("assemblies: []", "--assembly is required"), ("cache", "has to be a map")):
        config.write_text(text)
        agent.signal(signal.SIGHUP)
        assert "nothing is changed" in await_line(agent, "warning", message)
    always(lambda: members(published, "demo1") == ["nodes/n1"], "the membership stays", seconds=0.5)

    # An assembly that is not there yet holds up nothing, and is joined once it is.
    write(config, tmp_path, "  - demo1", "  - later")
    agent.signal(signal.SIGHUP)
    assert "ASSEMBLY_UNKNOWN" in await_line(agent, "join_failed", 'assembly="later"')
    published.create_assembly("later", "llama@v2", policy="full")
    published.wait_ready("later")
    published.wait_ready("demo1")
    assert len(lines_with(agent, "join_failed")) == 1


def test_usage_errors_name_file_and_way_out(published, config, tmp_path):
    write(config, tmp_path, "  - demo1", cachee="/c")
    agent = start(published, config)
    assert agent.wait(10) == 2
    assert f"{config}: unknown flag --cachee" in agent.output()

    write(config, tmp_path, "  - demo1")
    agent = start(published, config, "--assembly", "demo2")
    assert agent.wait(10) == 2
    assert "leave --assembly and --view out" in agent.output()

    agent = start(published, tmp_path / "absent.yaml")
    assert agent.wait(10) == 2
    assert "absent.yaml" in agent.output()


def test_agent_without_a_configuration_has_nothing_to_reload_and_carries_on(published):
    # Whoever runs the tests may have said nohup, which processes inherit.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    agent = published.start_agent("n1", "demo1")
    other = published.spawn_muster("wait", "wait", "demo2", "--timeout", "60s")
    signal.signal(signal.SIGHUP, before)
    published.wait_ready("demo1")

    agent.signal(signal.SIGHUP)

    assert "nothing to reload" in await_line(agent, "warning")
    always(agent.running, "the agent carries on", seconds=0.5)
    assert published.muster("status", "demo1", "--json").json()["assembly"]["state"] == "READY"
    # Other commands end by it, as ever.
    other.signal(signal.SIGHUP)
    assert other.wait(10) == 130
