"""Shards that are stored compressed and encrypted: published, pulled, viewed, assembled; keys that are wrong or missing."""

import os
import random
import struct

import pytest
from harness import checkpoints
from harness.api import READY
from harness.caches import entries, fetched_bytes
from harness.conditions import eventually
from harness.views import await_line

SHARDS = 2
KEY = "1b" * 32
OTHER_KEY = "2c" * 32
ENCODINGS = ["zstd", "zstd-grouped", "aes-256-gcm", "zstd+aes-256-gcm", "zstd-grouped+aes-256-gcm"]


def weights(seed):
    """bf16 weights of a normal distribution, which a compressor finds something in, and some float32 ones."""
    rng = random.Random(seed)
    tensors = []
    for i in range(4):
        values = [rng.gauss(0, 0.02) for _ in range(128 * 512)]
        data = b"".join(struct.pack("<f", value)[2:] for value in values)
        tensors.append(checkpoints.Tensor(f"model.layers.{i}.mlp.weight", "BF16", [128, 512], data))
        data = struct.pack("<512f", *values[:512])
        tensors.append(checkpoints.Tensor(f"model.layers.{i}.norm.weight", "F32", [512], data))
    return tensors


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    return checkpoints.write_hugging_face(tmp_path_factory.mktemp("source") / "model", weights(1))


@pytest.fixture(name="key")
def make_key(tmp_path):
    return write_key(tmp_path / "key", KEY)


def write_key(path, text):
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def flags_for(encoding, key):
    """Of publishing, and of reading what was published."""
    codec = encoding.split("+")[0]
    publish = ["--encode", "none" if codec.startswith("aes") else codec]
    if "aes" not in encoding:
        return publish, []
    return [*publish, "--key-file", key, "--key-id", "prod-2026"], ["--key-file", key]


def publish(cluster, source, encoding, key, model="llama@v1", assembly="demo"):
    flags, reading = flags_for(encoding, key)
    cluster.publish(source, model, "--piece-size", "1MiB", *flags, shards=SHARDS)
    cluster.create_assembly(assembly, model, policy="full")
    return reading


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_comes_back_is_what_was_published(cluster, source, key, tmp_path, encoding):
    reading = publish(cluster, source, encoding, key)
    shards = cluster.api().shards("llama", "v1")
    assert {shard.encoding for shard in shards} == {encoding}
    assert {shard.key_id for shard in shards} == {"prod-2026" if "aes" in encoding else ""}
    if "zstd" in encoding:
        assert all(shard.size_bytes < shard.content_size_bytes for shard in shards)

    view = tmp_path / "view"
    agent = cluster.start_agent("n1", "demo", "--view", view, *reading)
    cluster.wait_ready("demo")
    await_line(agent, "view")
    eventually(view.exists, "the view is there")
    assert checkpoints.open_directory(view) == checkpoints.open_directory(source)
    assert checkpoints.companions(view) == checkpoints.companions(source)
    assert fetched_bytes(agent) == sum(shard.size_bytes for shard in shards)
    assert all(path.name.endswith("-plain") for path in entries(cluster.cache("n1")))

    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "cached", "--cache", cluster.cache("n1"), *reading)
    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "fetched", *reading)
    for out in ("cached", "fetched"):
        assert checkpoints.open_directory(tmp_path / out) == checkpoints.open_directory(source)
    assert cluster.muster("verify", "llama@v1", "--json").json()["good"]
    assert cluster.muster("verify", "llama@v1", "--cache", cluster.cache("n1"), "--json", *reading).json()["good"]
    modes = {path.stat().st_mode & 0o777 for path in [*entries(cluster.cache("n1")), *view.glob("*.safetensors")]}
    assert modes == {0o440 if "aes" in encoding else 0o444}


def test_agent_that_starts_again_finds_the_content_if_it_has_the_key(cluster, source, key):
    reading = publish(cluster, source, "zstd-grouped+aes-256-gcm", key)
    first = cluster.start_agent("n1", "demo", *reading)
    cluster.wait_ready("demo")
    first.kill()

    without = cluster.start_agent("n1", "demo", name="without")
    eventually(lambda: "no key was given" in without.output(), "the content is not for everybody")
    assert " state=ready " not in without.output()
    without.kill()
    second = cluster.start_agent("n1", "demo", *reading, name="again")
    eventually(lambda: second.output().count(" state=ready ") == SHARDS, "every shard is READY again")
    assert fetched_bytes(second) == 0


def test_agent_killed_before_it_decoded_fetches_nothing_again(cluster, source, key, tmp_path):
    cluster.publish(source, "llama@v1", "--encode", "zstd", "--key-file", key, shards=1)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    asked, held = tmp_path / "asked", tmp_path / "held"
    os.mkfifo(held)
    # The key is asked for when every stored byte is there, and does not come.
    first = cluster.start_agent("n1", "demo", "--key-command", f"touch {asked}; cat {held}")
    eventually(asked.exists, "the key is asked for")
    first.kill()
    held.write_text("")
    assert not entries(cluster.cache("n1"))

    second = cluster.start_agent("n1", "demo", "--key-file", key, name="again")
    cluster.wait_ready("demo")
    assert fetched_bytes(second) == 0
    out = tmp_path / "out"
    cluster.muster("assemble", "llama@v1", "--out", out, "--cache", cluster.cache("n1"), "--key-file", key)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)


@pytest.mark.parametrize("form", ["plain", "stored", "both"])
def test_cache_keeps_what_its_form_says(cluster, source, key, tmp_path, form):
    reading = publish(cluster, source, "zstd+aes-256-gcm", key)
    agent = cluster.start_agent("n1", "demo", "--cache-form", form, *([] if form == "stored" else reading))
    cluster.wait_ready("demo")

    names = [path.name for path in entries(cluster.cache("n1"))]
    plain = sum(name.endswith("-plain") for name in names)
    assert (plain, len(names) - plain) == {"plain": (2, 0), "stored": (0, 2), "both": (2, 2)}[form]
    digests = {name.split("-")[1] for name in names}
    assert digests == {shard.root for shard in cluster.api().shards("llama", "v1")}
    out = tmp_path / "out"
    cluster.muster("assemble", "llama@v1", "--out", out, "--cache", cluster.cache("n1"), *reading)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)
    agent.terminate()


def test_wrong_and_missing_keys_are_told_and_nothing_is_shown(cluster, source, key, tmp_path):
    publish(cluster, source, "aes-256-gcm", key)
    other = write_key(tmp_path / "other", OTHER_KEY)
    for flags, reason in (([], "no key was given"), (["--key-file", other], "another key than the one")):
        out = tmp_path / "out"
        refused = cluster.muster("assemble", "llama@v1", "--out", out, *flags, check=False)
        assert refused.code == 1 and reason in refused.text and "prod-2026" in refused.text
        assert not out.exists()

    agent = cluster.start_agent("n1", "demo", "--key-file", other)
    api = cluster.api()

    def failure():
        replicas = api.assemblies.GetShardStatus(name="assemblies/demo", shard=0).replicas
        return next((one.failure.message for one in replicas if one.failure.message), None)

    assert "another key than the one" in eventually(failure, "the agent says why")
    assert api.assembly("demo").state != READY
    assert not entries(cluster.cache("n1"))
    agent.terminate()

    # The bytes are there already; what was missing is the key.
    second = cluster.start_agent("n1", "demo", "--key-env", "MODEL_KEY", name="again")
    assert second.wait(20) != 0, "the variable is not set"
    third = cluster.start_agent("n1", "demo", "--key-command", f"cat {key}", name="once-more")
    cluster.wait_ready("demo")
    assert fetched_bytes(third) == 0


def test_keys_are_refused_that_others_can_read_and_never_shown(cluster, source, tmp_path):
    open_key = write_key(tmp_path / "open", KEY)
    open_key.chmod(0o644)
    refused = cluster.publish(source, "llama@v1", "--key-file", open_key, check=False)
    assert refused.code == 1 and "chmod 600" in refused.text
    refused = cluster.publish(source, "llama@v1", "--key-env", "K", env={"K": KEY[:-1]}, check=False)
    assert refused.code == 2 or refused.code == 1
    published = cluster.publish(source, "llama@v1", "--key-env", "K", "--key-id", "k1", env={"K": KEY})
    assert KEY not in published.text
    for log in cluster.logs.glob("*.log"):
        lines = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith("$ ")]
        assert not any(KEY in line or KEY[:-1] in line for line in lines), log


def test_scrub_heals_rotten_content(cluster, source, key):
    reading = publish(cluster, source, "zstd-grouped+aes-256-gcm", key)
    agent = cluster.start_agent("n1", "demo", "--scrub-rate", "1GiB", "--scrub-interval", "50ms", *reading)
    cluster.wait_ready("demo")
    rotten = entries(cluster.cache("n1"))[0]
    before = rotten.read_bytes()
    rotten.chmod(0o644)
    checkpoints.flip_byte(rotten, len(before) // 2)

    eventually(lambda: "the cache entry was removed" in agent.output(), "the scrub finds it")
    eventually(lambda: rotten.exists() and rotten.read_bytes() == before, "the content is made again")
    cluster.wait_ready("demo")


def test_equal_content_is_never_encrypted_in_the_same_way(cluster, source, key):
    flags, _ = flags_for("aes-256-gcm", key)
    objects = []
    for version in ("v1", "v2"):
        cluster.publish(source, f"llama@{version}", *flags, shards=1)
        [path] = cluster.store.glob(f"llama/{version}-*/shard-00000.safetensors")
        objects.append(path.read_bytes())
    assert len(objects[0]) == len(objects[1])
    blocks = [{data[i : i + 16] for i in range(0, len(data) - 300, 16)} for data in objects]
    assert not blocks[0] & blocks[1]


def test_auto_says_what_it_chose(cluster, source):
    """Noise stays as it is; of these few bytes a plane is shorter than zstd's blocks, so that grouping would gain nothing."""
    cluster.publish(source, "llama@v1", "--encode", "auto", shards=SHARDS)
    assert {shard.encoding for shard in cluster.api().shards("llama", "v1")} == {"zstd"}
    shown = cluster.muster("shards", "show", "llama@v1", 0).stdout
    assert "zstd" in shown and "content" in shown
    noise = source.parent / "noise.bin"
    noise.write_bytes(random.Random(1).randbytes(1 << 20))
    cluster.publish(noise, "noise@v1", "--encode", "auto", strategy="raw", shards=1)
    assert {shard.encoding for shard in cluster.api().shards("noise", "v1")} == {""}
