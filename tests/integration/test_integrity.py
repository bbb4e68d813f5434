"""Wrong bytes never show up as READY, to a caller, or in an assembled model (invariant 3, docs/design.md)."""

import os
import pathlib
import re
import shutil

import pytest
from harness import checkpoints
from harness.api import READY
from harness.caches import entries
from harness.conditions import always, eventually

SHARDS = 4
BAD = 2


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer())


@pytest.fixture(name="published")
def publish(cluster, source):
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    return cluster


def shard(cluster, index=BAD):
    return cluster.api().models.GetShard(name=f"models/llama/versions/v1/shards/{index}").shard


def stored(cluster, index=BAD):
    return pathlib.Path(shard(cluster, index).locations[0].uri.removeprefix("file://"))


def flip(path):
    checkpoints.flip_byte(path, path.stat().st_size // 2)


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path):
    with open(path, "ab") as file:
        file.write(b"\0")


def remove(path):
    path.unlink()


def visible_digests(cache):
    return {checkpoints.md5_file(path) for path in entries(cache)}


def failed_replica(api):
    replicas = api.assemblies.GetShardStatus(name="assemblies/demo", shard=BAD).replicas
    return next((replica for replica in replicas if replica.state == 4), None)


@pytest.mark.parametrize("damage", [flip, shorten, lengthen, remove])
def test_damaged_shard_fails_with_its_reason_and_heals_by_itself(published, damage):
    path = stored(published)
    registered = {one.md5 for one in published.api().shards("llama", "v1")}
    bad_md5 = shard(published).md5
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    os.chmod(path, 0o644)
    damage(path)
    published.create_assembly("demo", "llama@v1", policy="full")
    api = published.api()
    agent = published.start_agent("n1", "demo")

    failure = eventually(lambda: failed_replica(api), "the agent reports FAILED").failure
    eventually(lambda: api.assembly("demo").shards_ready == SHARDS - 1, "the other shards are READY")

    assert failure.location == f"file://{path}"
    assert failure.message
    if damage is flip:
        assert failure.code == failure.CORRUPT
        # What a file holds stays on the node.
        assert len(failure.expected_md5) == 32 and not failure.found_md5
        assert re.search(rf"state=failed .*expected_md5=\"{failure.expected_md5}\" found_md5=\"[0-9a-f]{{32}}\"", agent.output())
    elif damage is not lengthen:
        assert failure.code in (failure.MISSING, failure.CORRUPT)
    waiting = published.wait_ready("demo", timeout=1, check=False)
    assert waiting.code == 3
    assert f"shard {BAD}" in waiting.text
    assert "n1" in waiting.text
    always(lambda: api.assembly("demo").state != READY, "the assembly is not READY", 0.5)
    assert visible_digests(published.cache("n1")) == registered - {bad_md5}
    assert agent.running()

    os.replace(kept, path)
    eventually(lambda: api.is_ready("demo"), "READY once the storage is repaired", 75)
    assert visible_digests(published.cache("n1")) == registered


@pytest.mark.parametrize("damage", [flip, shorten, remove])
@pytest.mark.parametrize("command", ["assemble", "pull", "verify"])
def test_damaged_shard_reaches_no_caller(published, damage, command, tmp_path):
    path = stored(published)
    os.chmod(path, 0o644)
    damage(path)
    out = tmp_path / "out"

    words = {"assemble": ["--out", out], "pull": ["--out", out], "verify": []}[command]
    result = published.muster(command, "llama@v1", *words, check=False)

    assert result.code == 1, result
    assert path.name in result.text or f"shard {BAD}" in result.text, result
    if command == "assemble":
        assert not out.exists()
    if command == "pull":
        digests = {one.md5 for one in published.api().shards("llama", "v1")}
        assert {checkpoints.md5_file(found) for found in out.rglob("*.safetensors")} <= digests - {shard(published).md5}


def load(cluster, policy="full"):
    cluster.create_assembly("demo", "llama@v1", policy=policy)
    agent = cluster.start_agent("n1", "demo")
    cluster.wait_ready("demo")
    return agent


def damaged_entry(cluster, restore_times):
    """Writes a byte into the cache entry of shard BAD, and makes its times look untouched if asked to."""
    md5 = shard(cluster).md5
    entry = next(path for path in entries(cluster.cache("n1")) if checkpoints.md5_file(path) == md5)
    before = entry.stat()
    os.chmod(entry, 0o644)
    flip(entry)
    os.chmod(entry, before.st_mode & 0o777)
    if restore_times:
        os.utime(entry, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert entry.stat().st_mtime_ns == before.st_mtime_ns
    return entry


@pytest.mark.parametrize("restore_times", [False, True])
def test_byte_written_into_the_cache_never_counts_after_a_restart(published, restore_times):
    agent = load(published)
    agent.kill()
    damaged_entry(published, restore_times)
    # The good source is away, so that READY could only come from the damaged entry.
    path = stored(published)
    os.rename(path, path.with_suffix(".away"))
    api = published.api()

    published.start_agent("n1", "demo", name="agent-again")
    eventually(lambda: failed_replica(api), "the agent notices")
    always(lambda: api.assembly("demo").state != READY, "the assembly is not READY", 0.5)
    assert visible_digests(published.cache("n1")) <= {one.md5 for one in api.shards("llama", "v1")}

    os.rename(path.with_suffix(".away"), path)
    eventually(lambda: api.is_ready("demo"), "READY once the source is back", 75)


@pytest.mark.parametrize("restore_times", [False, True])
def test_byte_written_into_the_cache_reaches_no_assembled_model(published, source, restore_times, tmp_path):
    load(published)
    damaged_entry(published, restore_times)

    out = tmp_path / "out"
    published.muster("assemble", "llama@v1", "--out", out, "--cache", published.cache("n1"))

    assert checkpoints.open_directory(out) == checkpoints.open_with_safetensors(source)


def test_damaged_cache_without_a_good_source_assembles_nothing(published, tmp_path):
    load(published)
    damaged_entry(published, restore_times=True)
    path = stored(published)
    os.rename(path, path.with_suffix(".away"))

    result = published.muster(
        "assemble", "llama@v1", "--out", tmp_path / "out", "--cache", published.cache("n1"), check=False
    )

    assert result.code == 1
    assert f"shard {BAD}" in result.text or path.name in result.text
    assert not (tmp_path / "out").exists()


def test_verify_finds_the_damaged_cache_entry(published):
    load(published)
    damaged_entry(published, restore_times=True)

    result = published.muster("verify", "llama@v1", "--cache", published.cache("n1"), check=False)

    assert result.code == 1
    assert f"{BAD}" in result.text


def test_verify_finds_a_changed_byte_in_an_assembled_model(published, tmp_path):
    out = tmp_path / "out"
    published.muster("assemble", "llama@v1", "--out", out)
    published.muster("verify", "llama@v1", "--dir", out)
    file = sorted(out.glob("*.safetensors"))[0]
    os.chmod(file, 0o644)
    checkpoints.flip_byte(file, file.stat().st_size - 10)

    result = published.muster("verify", "llama@v1", "--dir", out, check=False)

    assert result.code == 1


def test_damaged_companion_stops_assembling(cluster, tmp_path):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=1))
    cluster.publish(source, "llama@v1", shards=2)
    companion = cluster.api().models.ListCompanions(name="models/llama/versions/v1").companions[0]
    path = pathlib.Path(companion.locations[0].uri.removeprefix("file://"))
    os.chmod(path, 0o644)
    checkpoints.flip_byte(path, 0)

    result = cluster.muster("assemble", "llama@v1", "--out", tmp_path / "out", check=False)

    assert result.code == 1
    assert companion.path in result.text
    assert not (tmp_path / "out").exists()


def test_good_second_location_serves_when_the_first_is_damaged(published):
    path = stored(published)
    mirror = path.with_suffix(".mirror")
    shutil.copy(path, mirror)
    published.api().models.AddLocations(
        name="models/llama/versions/v1",
        entries=[{"shard": BAD, "location": {"uri": f"file://{mirror}", "priority": 5}}],
    )
    os.chmod(path, 0o644)
    flip(path)

    load(published)

    assert shard(published).md5 in visible_digests(published.cache("n1"))
