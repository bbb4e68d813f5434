"""Shards on real servers of the S3 protocol: the store's contract, the whole loop, and what a user sees when a server refuses."""

import json
import pathlib
import sys

import pytest
from harness import checkpoints
from harness.remote_storage import check_contract, check_publishing_from, find_only, publish_raw, random_weights
from harness.s3_servers import SECRET_KEY, SERVERS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fault_proxy import Answer, FaultProxy, Flip  # noqa: E402

PIECE = 8 << 20
PIECES = 8
SIZE = (PIECES - 1) * PIECE + 12_345


@pytest.fixture(name="s3", scope="module", params=SERVERS)
def serve(request, tmp_path_factory):
    server = SERVERS[request.param](tmp_path_factory.mktemp(request.param) / "server")
    server.make_bucket("models")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def settings_of_the_server(s3, monkeypatch):
    """What every process finds: `muster`, agents, and Amazon's client."""
    find_only(monkeypatch, s3.environment)


@pytest.fixture(name="big_file", scope="module")
def make_big_file(tmp_path_factory):
    return random_weights(tmp_path_factory.mktemp("source"), SIZE, 23)


@pytest.fixture(name="folder")
def make_folder(request):
    """A prefix of the bucket for one test."""
    return f"s3://models/{request.node.originalname}"


def the_shard(cluster):
    """Bucket, key and URI of the only shard."""
    uri = cluster.api().shards("llama", "v1")[0].locations[0].uri
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    return bucket, key, uri


@pytest.mark.limit(600)
def test_the_store_keeps_its_contract():
    check_contract("s3")


@pytest.mark.limit(300)
def test_published_loaded_and_assembled(cluster, tmp_path, folder):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    cluster.muster("publish", source, "--model", "llama@v1", "--to", folder, "--shards", 4)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("verify", "llama@v1")
    out = tmp_path / "out"
    cluster.muster("assemble", "llama@v1", "--out", out)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)
    assert SECRET_KEY not in cluster.show_logs()


@pytest.mark.limit(300)
def test_parts_are_pieces_and_the_etag_is_the_root(cluster, s3, big_file, tmp_path, folder):
    """Amazon's own client sees and reads what was published."""
    publish_raw(cluster, big_file, folder)
    bucket, key, uri = the_shard(cluster)
    shard = cluster.api().shards("llama", "v1")[0]
    head = json.loads(s3.aws("s3api", "head-object", "--bucket", bucket, "--key", key))
    assert head["ContentLength"] == SIZE
    assert head["ETag"].strip('"') == f"{shard.root}-{PIECES}"
    copy = tmp_path / "copy"
    s3.aws("s3", "cp", "--only-show-errors", uri, copy)
    assert checkpoints.md5_file(copy) == checkpoints.md5_file(big_file) == shard.md5


@pytest.mark.limit(300)
def test_a_worse_location_of_another_kind_takes_over(cluster, s3, big_file, tmp_path, folder):
    """The bucket fails half-way, and what is missing comes from a file."""
    publish_raw(cluster, big_file, folder)
    _, _, uri = the_shard(cluster)
    name = "models/llama/versions/v1"
    copy = cluster.store / "copy"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(big_file.read_bytes())
    cluster.api().models.AddLocations(
        name=name, entries=[{"shard": 0, "location": {"uri": f"file://{copy}", "priority": 9}}]
    )
    host, port = s3.endpoint.removeprefix("http://").split(":")
    with FaultProxy((host, int(port))) as proxy:
        proxy.fault = lambda request: Answer(403) if request.number >= PIECES // 2 else None
        out = tmp_path / "out"
        done = cluster.muster("pull", "llama@v1", "--out", out, env={"AWS_ENDPOINT_URL": proxy.url})
    assert [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()] == [checkpoints.md5_file(big_file)]
    assert uri in done.stderr, done


@pytest.mark.limit(240)
def test_a_wrong_byte_is_told_and_nothing_is_visible(cluster, s3, big_file, tmp_path, folder):
    """What else can go wrong on the way is tested over HTTP, which is the same code."""
    publish_raw(cluster, big_file, folder)
    host, port = s3.endpoint.removeprefix("http://").split(":")
    out = tmp_path / "out"
    with FaultProxy((host, int(port))) as proxy:
        proxy.fault = lambda request: Flip(at=PIECE + 5)
        done = cluster.muster("pull", "llama@v1", "--out", out, env={"AWS_ENDPOINT_URL": proxy.url}, check=False)
    assert done.code == 1, done
    assert "MD5" in done.stderr and folder in done.stderr, done
    assert not out.exists() or not any(path.is_file() for path in out.rglob("*")), list(out.rglob("*"))


@pytest.mark.limit(300)
def test_a_model_in_a_bucket_is_published_from_there(cluster, s3, tmp_path, folder):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    s3.aws("s3", "cp", "--only-show-errors", "--recursive", source, f"{folder}/llama")
    check_publishing_from(cluster, f"{folder}/llama/", source, tmp_path)

    # An object that was replaced is told from the one that was registered, before a byte is read.
    shard = cluster.api().shards("llama", "v3")[0]
    assert shard.locations[0].version, shard
    (tmp_path / "replaced").write_bytes(bytes(shard.size_bytes))
    s3.aws("s3", "cp", "--only-show-errors", tmp_path / "replaced", shard.locations[0].uri)
    done = cluster.muster("pull", "llama@v3", "--out", tmp_path / "out", "--shards", shard.index, check=False)
    assert done.code == 1 and "was replaced since it was registered" in done.stderr, done


# Where `muster` publishes to, what differs in its environment, and what it then says: servers' words differ.
REFUSALS = {
    "a missing bucket": ("s3://no-such-bucket/x", {}, ["NoSuchBucket"]),
    "a wrong secret": ("s3://models/x", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ["SignatureDoesNotMatch"]),
    "an unknown key": ("s3://models/x", {"AWS_ACCESS_KEY_ID": "nobody"}, ["InvalidAccessKeyId", "No user exists"]),
    "no credentials": ("s3://models/x", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ["AWS_ACCESS_KEY_ID"]),
    "nobody there": ("s3://models/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, ["127.0.0.1"]),
    "a bad bucket name": ("s3://a/x", {}, ["a"]),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_name_the_cause(cluster, big_file, refusal):
    folder, environment, told = REFUSALS[refusal]
    done = publish_raw(cluster, big_file, folder, env=environment, check=False)
    assert done.code in (1, 2), done
    assert any(words in done.stderr for words in told), done
    assert SECRET_KEY not in done.text
    assert cluster.muster("models", "list", "--json").json()["model_versions"] == []
