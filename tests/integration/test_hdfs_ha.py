"""HDFS with a pair of name nodes that change places while a model is published and pulled, and HDFS that is served by HTTPS."""

import pytest
from harness import checkpoints
from harness.caches import entries
from harness.conditions import eventually
from harness.hdfs_server import HdfsServer, NameService
from harness.remote_storage import find_only, make_certificate, publish_raw, pull_that_fails, random_weights

PIECE = 8 << 20
SIZE = 2 * PIECE + 12_345
# It takes several appends of 32 MiB.
BIG_SIZE = 72 << 20


@pytest.fixture(name="pair", scope="module")
def serve_pair(tmp_path_factory):
    service = NameService(tmp_path_factory.mktemp("hdfs") / "service")
    yield service
    service.stop()


@pytest.fixture(name="certificate", scope="module")
def make_a_certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "server")


@pytest.fixture(name="secure", scope="module")
def serve_by_https(tmp_path_factory, certificate):
    server = HdfsServer(tmp_path_factory.mktemp("hdfs") / "secure", data_nodes=1, certificate=certificate)
    yield server
    server.stop()


def digests_in(paths):
    return [checkpoints.md5_file(path) for path in paths if path.is_file()]


# The one that is killed does not come back, so that is the last case.
@pytest.mark.limit(300)
@pytest.mark.parametrize("leave", ["stand_by", "kill"])
def test_the_other_name_node_takes_over_in_the_middle(cluster, pair, tmp_path, monkeypatch, leave):
    """Of a pull by agents and of a publication, which have nothing but the name of the service. None is active for a while."""
    find_only(monkeypatch, pair.environment)
    active, other = sorted(pair.NAME_NODES, key=lambda one: pair.state(one) != "active")
    assert (pair.state(active), pair.state(other)) == ("active", "standby")
    source = random_weights(tmp_path, SIZE, 41)
    (tmp_path / "next").mkdir()
    next_source = random_weights(tmp_path / "next", BIG_SIZE, 43)
    to = pair.uri(f"models/{leave}")
    publish_raw(cluster, source, to)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2, policy="full")
    # So slow that none of them is through before the name node leaves.
    clients = cluster.start_agents(2, "demo", "--max-rate", "4MiB", "--connections", 1)
    eventually(lambda: all(any(cluster.cache(node).rglob("*.part")) for node in ("n1", "n2")), "both agents have begun")
    raw, before = ("--strategy", "raw", "--shards", 1), pair.open_blocks()
    publishing = cluster.spawn_muster("publish", "publish", next_source, "--model", "llama@v2", "--to", to, *raw)
    clients.append(publishing)
    eventually(lambda: pair.open_blocks() - before, "the publication has begun to write")
    for client in clients:
        client.pause()

    getattr(pair, leave)(active)
    assert not cluster.api().is_ready("demo")
    for client in clients:
        client.resume()
    pair.activate(other)

    cluster.wait_ready("demo")
    assert [digests_in(entries(cluster.cache(node))) for node in ("n1", "n2")] == [digests_in([source])] * 2
    assert publishing.wait(60) == 0, publishing.output()
    out = tmp_path / "out"
    cluster.muster("pull", "llama@v2", "--out", out)
    assert digests_in(out.rglob("*")) == digests_in([next_source])


@pytest.mark.limit(300)
def test_published_and_loaded_by_https(cluster, secure, certificate, tmp_path, monkeypatch):
    find_only(monkeypatch, {**secure.environment, "SSL_CERT_FILE": f"{certificate}.pem"})
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=2))
    to = secure.uri("models", scheme="swebhdfs")
    cluster.muster("publish", source, "--model", "llama@v1", "--to", to, "--shards", 2)
    assert all(shard.locations[0].uri.startswith(to) for shard in cluster.api().shards("llama", "v1"))
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "out")
    assert checkpoints.open_directory(tmp_path / "out") == checkpoints.open_directory(source)

    # Hadoop's settings say HTTPS_ONLY: the URI of every day will do.
    weights = random_weights(tmp_path, PIECE + 1, 53)
    cluster.muster("publish", weights, "--model", "llama@v2", "--to", secure.uri("models"), "--strategy", "raw", "--shards", 1)
    cluster.muster("pull", "llama@v2", "--out", tmp_path / "again")
    assert digests_in((tmp_path / "again").rglob("*")) == digests_in([weights])


def test_refusals_over_https_name_the_cause(cluster, secure, certificate, tmp_path, monkeypatch):
    find_only(monkeypatch, {**secure.environment, "SSL_CERT_FILE": f"{certificate}.pem"})
    source = random_weights(tmp_path, 100_000, 47)
    to = secure.uri("models", scheme="swebhdfs")
    publish_raw(cluster, source, to)
    raw = ("--strategy", "raw", "--shards", 1)
    unknown = {"SSL_CERT_FILE": ""}, [to, "certificate is not trusted", "SSL_CERT_FILE"]
    pull_that_fails(cluster, tmp_path / "out", unknown[0], "an unknown authority", unknown[1])
    refusals = {
        "an unknown authority": (to, *unknown),
        "hdfs where there is TLS": ("hdfs://there/models", {"MUSTER_WEBHDFS_ADDRESS": secure.web_address}, ["swebhdfs://"]),
    }
    for what, (uri, environment, told) in refusals.items():
        done = cluster.muster("publish", source, "--model", "llama@v2", "--to", uri, *raw, env=environment, check=False)
        assert done.code == 1 and all(words in done.stderr for words in told), f"{what}: {done}"
    assert [one["name"] for one in cluster.muster("models", "list", "--json").json()["items"]] == ["models/llama/versions/v1"]
