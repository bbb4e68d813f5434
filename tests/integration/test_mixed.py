"""One shard on storage of different kinds: a file, a bucket and HDFS, each failing where the test wants it to."""

import pathlib

import pytest
from fault_proxy import Answer, FaultProxy
from harness import checkpoints
from harness.remote_storage import find_only, publish_raw, random_weights

PIECE = 8 << 20
PIECES = 12
SIZE = (PIECES - 1) * PIECE + 12_345
NAME = "models/llama/versions/v1"

pytestmark = pytest.mark.parametrize("s3_server", ["versity"], indirect=True)


@pytest.mark.limit(300)
def test_each_kind_takes_over_from_the_one_before(cluster, s3_server, hdfs_server, tmp_path, monkeypatch):
    """The file rots in its second third, the bucket refuses the last; every byte is verified all the same."""
    find_only(monkeypatch, {**s3_server.environment, **hdfs_server.environment})
    source = random_weights(tmp_path, SIZE, 37)
    publish_raw(cluster, source, f"file://{cluster.store}")
    shard = cluster.api().shards("llama", "v1")[0]
    path = pathlib.Path(shard.locations[0].uri.removeprefix("file://"))
    cluster.muster("publish", source, "--model", "copies@s3", "--to", "s3://models/mixed", "--strategy", "raw", "--shards", 1)
    cluster.muster("publish", source, "--model", "copies@hdfs", "--to", hdfs_server.uri("mixed"), "--strategy", "raw", "--shards", 1)
    api = cluster.api()
    for priority, version in ((5, "s3"), (9, "hdfs")):
        there = api.shards("copies", version)[0].locations[0].uri
        api.models.AddLocations(name=NAME, entries=[{"shard": 0, "location": {"uri": there, "priority": priority}}])
    path.chmod(0o644)
    for piece in range(PIECES // 3, PIECES):
        checkpoints.flip_byte(path, piece * PIECE + 77)

    with FaultProxy(s3_server.address) as proxy:
        late = PIECES * 2 // 3 * PIECE
        proxy.fault = lambda request: Answer(403) if (request.first or 0) >= late else None
        out = tmp_path / "out"
        done = cluster.muster("pull", "llama@v1", "--out", out, "--connections", 1, env={"AWS_ENDPOINT_URL": proxy.url})
        assert proxy.body_bytes > 0, "the bucket was read from"

    assert [checkpoints.md5_file(file) for file in out.rglob("*") if file.is_file()] == [checkpoints.md5_file(source)]
    assert str(path) in done.stderr and "s3://models/mixed" in done.stderr, done


@pytest.mark.limit(300)
def test_agents_load_a_model_whose_shards_are_on_three_kinds(cluster, s3_server, hdfs_server, tmp_path, monkeypatch):
    """Each shard has all three locations, and another one of them is gone for each."""
    find_only(monkeypatch, {**s3_server.environment, **hdfs_server.environment})
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    api = cluster.api()
    for version, to in (("v1", f"file://{cluster.store}"), ("s3", "s3://models/three"), ("hdfs", hdfs_server.uri("three"))):
        cluster.muster("publish", source, "--model", f"llama@{version}", "--to", to, "--shards", 6)
    lost = 0
    copies = {version: api.shards("llama", version) for version in ("s3", "hdfs")}
    for shard in api.shards("llama", "v1"):
        uris = [shard.locations[0].uri, copies["s3"][shard.index].locations[0].uri, copies["hdfs"][shard.index].locations[0].uri]
        for priority in (1, 2):
            # The first location of every third shard is tried last, and so on, so that each kind is the first one once.
            turn = (shard.index + priority) % 3
            entry = {"shard": shard.index, "location": {"uri": uris[priority], "priority": turn}}
            api.models.AddLocations(name=NAME, entries=[entry])
        if shard.index % 2 == 0:
            pathlib.Path(uris[0].removeprefix("file://")).unlink()
            lost += 1
    assert lost == 3
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "out")
    assert checkpoints.open_directory(tmp_path / "out") == checkpoints.open_directory(source)
