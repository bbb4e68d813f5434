"""What an agent says to a person who watches a terminal, and that programs get lines."""

import shlex

import pytest
from harness import checkpoints
from harness.conditions import eventually

SHARDS = 4


@pytest.fixture(name="published")
def publish(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=2))
    cluster.publish(source, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    return cluster


def start_on_terminal(cluster, tmp_path, *words):
    """`script` gives its command a terminal, and passes on what that shows."""
    agent = cluster.muster_command("agent", "--node", "n1", "--assembly", "demo", "--cache", tmp_path / "cache", *words)
    return cluster.spawn("agent-n1", ["script", "-qefc", shlex.join(map(str, agent)), "/dev/null"])


def test_agent_on_a_terminal_speaks_in_sentences(published, tmp_path):
    view = tmp_path / "view"
    agent = start_on_terminal(published, tmp_path, "--view", view)
    published.wait_ready("demo")

    eventually(lambda: f"demo: view at {view}" in agent.output(), "the view is told")

    text = agent.output()
    assert "node n1 is registered" in text
    assert "demo: joined; llama@v1 is " in text
    assert f"demo: {SHARDS} shards are this node's, " in text
    assert f"demo: READY on this node: {SHARDS} shards, " in text
    assert "event=" not in text


def test_cause_is_one_sentence_on_a_terminal(published, tmp_path):
    agent = start_on_terminal(published, tmp_path, "--cache-budget", "1KiB")

    def all_failed_twice():
        statuses = [
            published.api().assemblies.GetShardStatus(name="assemblies/demo", shard=shard).replicas
            for shard in range(SHARDS)
        ]
        return all(replicas and replicas[0].failure.attempts >= 2 for replicas in statuses)

    eventually(all_failed_twice, "every shard has failed twice")

    assert agent.output().count("failed and is tried again: NO_SPACE: ") == 1, agent.output()


def test_log_gives_lines_on_a_terminal(published, tmp_path):
    agent = start_on_terminal(published, tmp_path, "--log")
    published.wait_ready("demo")

    eventually(lambda: "event=ready" in agent.output(), "a line for programs")
    assert "READY on this node" not in agent.output()
