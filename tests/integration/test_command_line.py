"""What the command line does with a server: mistakes in its address, lists, and what an agent takes from elsewhere."""

import json
import os
import socket
import subprocess
from concurrent import futures

import grpc
import pytest
from harness import checkpoints
from harness.cluster import binary, free_port
from harness.conditions import eventually

SHARDS = 3


@pytest.fixture(name="published")
def publish(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "m.safetensors", checkpoints.transformer(seed=1))
    for version in ("v1", "v2"):
        cluster.publish(source, f"llama@{version}", "--piece-size", "1MiB", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    return cluster


def test_wrong_address_is_told_while_it_is_waited_for(cluster):
    waiting = cluster.spawn_muster("status", "status", "--timeout", "60s", server=f"127.0.0.1:{free_port()}")
    eventually(lambda: "waiting for the server" in waiting.output(), "the command says what it waits for")
    assert waiting.running()
    assert "Connection refused" in waiting.output()
    assert "--server names another address" in waiting.output()


def test_server_that_never_answers_is_told_with_its_address(cluster):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        waiting = cluster.spawn_muster("nodes", "nodes", "--timeout", "60s", server=address)
        eventually(lambda: "waiting for the server" in waiting.output(), "the command says what it waits for")
        assert address in waiting.output()


def test_address_is_understood_as_it_is_pasted(published):
    assert published.muster("nodes", server=f"http://{published.address}/").code == 0
    refused = published.muster("nodes", server=f"https://{published.address}", check=False)
    assert refused.code == 2
    assert "--tls-ca" in refused.stderr


def test_version_is_that_of_both(cluster):
    musterd = subprocess.run([binary("musterd"), "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    client, server, skew = cluster.muster("version").stdout.splitlines()
    assert client == cluster.muster("--version").stdout.strip()
    info = cluster.api().server.GetServerInfo()
    assert server == f"{musterd.strip()}, cluster {info.cluster_id}"
    assert musterd.strip() == "musterd " + "+".join(filter(None, (info.version, info.commit)))
    # A tree in which only one of them was built last is no mistake.
    same = client.split()[1] == musterd.split()[1]
    assert ("+" not in client) or same == (skew == "the server is of the same build")

    shown = cluster.muster("version", "--json").json()

    assert shown["server"] == {"version": info.version, "commit": info.commit, "cluster_id": info.cluster_id}
    assert client == "muster " + "+".join(filter(None, shown["client"].values()))
    assert shown["skew"] == ("unknown" if "+" not in client else "same" if same else "other_commit")


def test_version_of_a_server_that_is_away_is_told_and_no_failure(cluster):
    client = cluster.muster("--version").stdout.strip()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for server in (f"127.0.0.1:{free_port()}", f"127.0.0.1:{silent.getsockname()[1]}"):
            away = cluster.muster("version", server=server)
            assert away.stdout.strip() == client
            assert "musterd: " in away.stderr and "the server's version is not known" in away.stderr
            shown = cluster.muster("version", "--json", server=server).json()
            assert (shown["server"], shown["skew"]) == (None, "unknown") and shown["message"]
    assert cluster.muster("version", server="h:99999", check=False).code == 2


# A server from before the call says so; it is the older one, whatever else it says.
def test_server_without_the_call_is_the_older_one(cluster):
    old = grpc.server(futures.ThreadPoolExecutor(1))
    port = old.add_insecure_port("127.0.0.1:0")
    old.start()
    try:
        shown = cluster.muster("version", "--json", server=f"127.0.0.1:{port}").json()
        assert (shown["server"], shown["skew"]) == (None, "server_older")
        assert "the server is older" in cluster.muster("version", server=f"127.0.0.1:{port}").stderr
    finally:
        old.stop(None).wait(60)


def test_timeout_before_wait_is_how_long_it_waits(published):
    late = published.muster("--timeout", "1s", "wait", "demo", check=False)
    assert late.code == 3, str(late)


def test_lists_are_filtered_sorted_and_cut(published):
    def names(*args):
        return published.muster(*args, "-q").stdout.split()

    assert names("models") == ["llama@v1", "llama@v2"]
    assert names("models", "--sort", "-name") == ["llama@v2", "llama@v1"]
    assert names("get", "models", "--filter", "name=llama@v2") == ["llama@v2"]
    assert names("model", "ls", "--limit", "1") == ["llama@v1"]
    assert names("shards", "list", "llama@v1", "--filter", "index!=1") == ["0", "2"]
    assert names("assembly", "list", "--filter", "model_version=llama@v1") == ["demo"]
    assert names("assemblies", "--filter", "state=READY") == []
    assert "UID" in published.muster("models", "-o", "wide").stdout
    assert "items:\n  - name: models/llama/versions/v1\n" in published.muster("models", "-o", "yaml").stdout

    mistaken = published.muster("models", "--filter", "stat=COMMITTED", check=False)
    assert mistaken.code == 2
    assert 'did you mean "state"?' in mistaken.stderr


def test_sizes_in_json_are_numbers(published):
    sizes = [one["size_bytes"] for one in published.muster("models", "--json").json()["items"]]
    assert all(isinstance(size, int) for size in sizes) and min(sizes) > 0
    shards = published.muster("get", "shards", "llama@v1", "-o", "json").json()["items"]
    assert sum(shard["size_bytes"] for shard in shards) == sizes[0]


def test_context_stands_for_its_flags(published, tmp_path):
    config = {"MUSTER_CONFIG": str(tmp_path / "config.yaml"), "MUSTER_SERVER": ""}

    def muster(*args, **kwargs):
        command = [binary("muster"), *args]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, **config, **kwargs},
        )  # fmt: skip

    assert muster("context", "set", "here", "--server", published.address).returncode == 0
    assert muster("context", "set", "away", "--server", "127.0.0.1:1").returncode == 0
    assert muster("nodes").returncode == 0
    assert muster("nodes", "--timeout", "1s", "--context", "away").returncode == 4
    assert muster("nodes", "--timeout", "1s", MUSTER_CONTEXT="away").returncode == 4
    assert muster("context", "use", "away").returncode == 0
    assert muster("nodes", "--timeout", "1s").returncode == 4
    assert muster("nodes", "--server", published.address).returncode == 0
    assert muster("context", "show").stdout.splitlines()[0].split() == ["name:", "away"]
    assert muster("context", "list", "-q").stdout.split() == ["away", "here"]
    lost = muster("nodes", "--context", "her")
    assert lost.returncode == 2 and 'did you mean "here"?' in lost.stderr


def test_agent_takes_what_nobody_says_from_the_environment_and_the_host(published, tmp_path):
    agent = published.spawn(
        "agent",
        published.muster_command("agent", "--zone", "of-the-flag"),
        env={"MUSTER_ASSEMBLY": "demo", "XDG_CACHE_HOME": str(tmp_path), "HOME": "/nonexistent", "MUSTER_ZONE": "z",
             "MUSTER_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    published.wait_ready("demo")
    nodes = published.muster("nodes", "--json").json()["items"]
    assert [(node["name"], node["zone"]) for node in nodes] == [(f"nodes/{socket.gethostname()}", "of-the-flag")]
    assert len(published.muster("cache", "ls", "--cache", tmp_path / "cache", "-q").stdout.split()) == SHARDS
    assert agent.running()


def test_other_commands_don_t_stumble_over_what_is_meant_for_an_agent(published):
    assert published.muster("nodes", env={"MUSTER_ON_STOP": "explode"}).code == 0
    assert json.loads(published.muster("assemblies", "--json", env={"MUSTER_MODEL": "x"}).stdout)["items"]
