"""Shards on a real HDFS: the store's contract, the whole loop, other name nodes, and what users see when it refuses."""

import subprocess

import pytest
from harness import checkpoints
from harness.cluster import free_port
from harness.hdfs_server import HdfsServer
from harness.remote_storage import check_contract, check_publishing_from, find_only, publish_raw, random_weights

PIECE = 8 << 20
SIZE = 5 * PIECE + 12_345


@pytest.fixture(name="hdfs", scope="module")
def serve(tmp_path_factory):
    server = HdfsServer(tmp_path_factory.mktemp("hdfs") / "server")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def settings_of_the_server(hdfs, monkeypatch):
    """What every process finds: `muster`, and agents."""
    find_only(monkeypatch, hdfs.environment)


@pytest.fixture(name="big_file", scope="module")
def make_big_file(tmp_path_factory):
    return random_weights(tmp_path_factory.mktemp("source"), SIZE, 31)


@pytest.mark.limit(600)
def test_the_store_keeps_its_contract(hdfs, monkeypatch):
    monkeypatch.setenv("MUSTER_WEBHDFS_ADDRESS", hdfs.web_address)
    check_contract("hdfs")


@pytest.mark.limit(300)
def test_published_loaded_and_assembled(cluster, hdfs, tmp_path):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    cluster.muster("publish", source, "--model", "llama@v1", "--to", hdfs.uri("models/loop"), "--shards", 4)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("verify", "llama@v1")
    out = tmp_path / "out"
    cluster.muster("assemble", "llama@v1", "--out", out)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)


@pytest.mark.limit(300)
def test_the_name_node_that_serves_is_found(cluster, hdfs, big_file, tmp_path, monkeypatch):
    """As with a standby: the first one is away. The shard takes several appends."""
    monkeypatch.setenv("MUSTER_WEBHDFS_ADDRESS", f"127.0.0.1:{free_port()},{hdfs.web_address}")
    publish_raw(cluster, big_file, "hdfs://both/models/failover")
    out = tmp_path / "out"
    cluster.muster("pull", "llama@v1", "--out", out)
    assert [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()] == [checkpoints.md5_file(big_file)]


@pytest.mark.limit(300)
def test_a_file_takes_over_where_hdfs_has_lost_it(cluster, hdfs, big_file, tmp_path):
    """Locations of different kinds inside one shard."""
    publish_raw(cluster, big_file, f"file://{cluster.store}")
    lost = hdfs.uri("models/lost/shard")
    entry = {"shard": 0, "location": {"uri": lost, "priority": 0}}
    api = cluster.api()
    there = api.shards("llama", "v1")[0].locations[0].uri
    name = "models/llama/versions/v1"
    api.models.AddLocations(name=name, entries=[{"shard": 0, "location": {"uri": there, "priority": 9}}, entry])
    out = tmp_path / "out"
    done = cluster.muster("pull", "llama@v1", "--out", out)
    assert lost in done.stderr and "FileNotFoundException" in done.stderr, done
    assert [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()] == [checkpoints.md5_file(big_file)]


@pytest.mark.limit(300)
def test_a_model_in_hdfs_is_published_from_there(cluster, hdfs, tmp_path):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    uri = hdfs.uri("models/there")
    subprocess.run([*hdfs.shell, "-mkdir", "-p", uri], check=True, capture_output=True)
    subprocess.run([*hdfs.shell, "-put", source, f"{uri}/llama"], check=True, capture_output=True)
    check_publishing_from(cluster, f"{uri}/llama/", source, tmp_path)


def test_refusals_name_the_cause(cluster, hdfs, big_file):
    refusals = {
        "not allowed": ({"HADOOP_USER_NAME": "nobody"}, "Permission denied"),
        "the port of RPCs": ({"MUSTER_WEBHDFS_ADDRESS": f"127.0.0.1:{hdfs.rpc_port}"}, "is the port of RPCs"),
        "an address that makes no sense": ({"MUSTER_WEBHDFS_ADDRESS": "here"}, "MUSTER_WEBHDFS_ADDRESS"),
    }
    for what, (environment, told) in refusals.items():
        done = publish_raw(cluster, big_file, hdfs.uri("top"), env=environment, check=False)
        assert done.code == 1 and told in done.stderr, f"{what}: {done}"
        assert cluster.muster("models", "list", "--json").json()["model_versions"] == []
