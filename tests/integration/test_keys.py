"""Keys by right: the server makes, wraps and gives the content keys of encrypted versions; nodes have no key file."""

import base64
import os
import subprocess

import grpc
import pytest
from harness import checkpoints
from harness.api import READY, ApiError
from harness.cluster import binary
from harness.conditions import eventually

SHARDS = 3


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "model"
    # Text that is found again wherever it lies in the clear.
    tensors = [
        checkpoints.Tensor(f"model.layers.{i}.mlp.weight", "BF16", [256, 512], (b"plaintext-weights" * 15421)[: 256 * 512 * 2])
        for i in range(4)
    ]
    return checkpoints.write_hugging_face(folder, tensors)


def master_key(*words, check=True):
    done = subprocess.run(
        [binary("musterd"), "master-key", *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def ids_in(path):
    return [line.split()[0] for line in path.read_text().splitlines() if not line.startswith("#")]


def secrets_in(path):
    """The master keys themselves."""
    return [base64.b64decode(line.split()[1]) for line in path.read_text().splitlines() if not line.startswith("#")]


@pytest.fixture(name="master")
def make_master(tmp_path):
    path = tmp_path / "master.keys"
    master_key("new", path)
    return path


@pytest.fixture(name="keyed")
def make_keyed(new_cluster, master):
    cluster = new_cluster()
    cluster.start_server("--master-key", master)
    return cluster


def publish(cluster, source, model="llama@v1", *more, **kwargs):
    return cluster.publish(source, model, "--key-from-server", "--piece-size", "1MiB", *more, shards=SHARDS, **kwargs)


def content_key(cluster, version="models/llama/versions/v1"):
    return cluster.api().keys.GetContentKey(name=version).content_key


def counts(cluster):
    answer = cluster.api().keys.GetKeyStatus()
    return {key.id: key.content_keys for key in answer.master_keys}


def await_line(process, text):
    def line():
        return next((one for one in process.output().splitlines() if text in one), None)

    return eventually(line, f"{process.name} says {text}")


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def encodings_of(secret):
    """What a key looks like where somebody writes it down."""
    return [secret, secret.hex().encode(), base64.b64encode(secret)]


def test_agents_load_without_any_key_file_and_no_key_is_written_down(keyed, source, master, tmp_path):
    publish(keyed, source)
    key = content_key(keyed)
    shards = keyed.api().shards("llama", "v1")
    assert {shard.key_id for shard in shards} == {key.key_id} and key.key_id.startswith("muster/")
    assert len(key.key) == 32
    assert key.key_id in keyed.muster("models", "show", "llama@v1").stdout
    stored = files_below(keyed.store)
    assert stored and not any(b"plaintext-weights" in path.read_bytes() for path in stored if path.suffix == ".safetensors")

    keyed.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    agents = keyed.start_agents(2, "demo")
    keyed.wait_ready("demo")
    out = tmp_path / "out"
    keyed.muster("export", "llama@v1", "--out", out, "--cache", keyed.cache("n1"))
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)
    keyed.muster("prefetch", "llama@v1", "--cache", keyed.cache("other"))
    keyed.muster("pull", "llama@v1", "--out", tmp_path / "files")
    keyed.muster("verify", "llama@v1", "--dir", out)
    keyed.muster("verify", "llama@v1", "--cache", keyed.cache("n1"))

    # Neither the key nor a master key is in any file but the master keys' own.
    secrets = [*encodings_of(key.key), *(form for secret in secrets_in(master) for form in encodings_of(secret))]
    for path in files_below(tmp_path):
        if path == master:
            continue
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path
    assert all(agent.running() for agent in agents)


def locked_or_not_dumped(pid, secret):
    """Where a process has the secret: in memory that goes into a core, and in memory that doesn't."""
    dumped, kept_out = 0, 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(f"/proc/{pid}/smaps", encoding="ascii") as maps:
        span = None
        for line in maps:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                begin, end = (int(part, 16) for part in words[0].split("-"))
                span = (begin, end) if words[1].startswith("rw") else None
            elif words[0] == "VmFlags:" and span is not None:
                try:
                    memory.seek(span[0])
                    found = memory.read(span[1] - span[0]).count(secret)
                except (OSError, ValueError, OverflowError):
                    continue
                if "dd" in words:
                    kept_out += found
                else:
                    dumped += found
    return dumped, kept_out


def test_master_keys_are_in_no_core_of_the_server(keyed, source, master):
    if os.geteuid() != 0:
        pytest.skip("reading another process's memory needs root")
    publish(keyed, source)
    for secret in secrets_in(master):
        dumped, kept_out = locked_or_not_dumped(keyed.server.pid, secret)
        assert dumped == 0
        assert kept_out > 0


def test_draft_keeps_its_key_over_calls_and_restarts(keyed, source):
    in_place = keyed.muster("publish", source, "--model", "llama@v1", "--key-from-server", "--in-place", check=False)
    assert in_place.code == 2 and "--in-place" in in_place.stderr
    api = keyed.api()
    api.models.CreateModelVersion(model_version={"name": "models/other/versions/v1", "shard_count": 1})
    first = api.keys.CreateContentKey(name="models/other/versions/v1")
    keyed.kill_server()
    keyed.start_server()
    again = keyed.api().keys.CreateContentKey(name="models/other/versions/v1")
    assert again.content_key == first.content_key
    assert content_key(keyed, "models/other/versions/v1") == first.content_key
    # Another version has another one.
    publish(keyed, source)
    assert content_key(keyed).key != first.content_key.key
    with pytest.raises(ApiError) as committed:
        keyed.api().keys.CreateContentKey(name="models/llama/versions/v1")
    assert committed.value.info.reason == "VERSION_NOT_DRAFT"


def test_keys_outlive_a_restart_and_a_rotation_while_agents_pull(keyed, source, master, tmp_path):
    publish(keyed, source)
    publish(keyed, source, "llama@v2")
    before = content_key(keyed)
    keyed.kill_server()
    keyed.start_server()
    keyed.create_assembly("demo", "llama@v1", policy="full", min_nodes=3)
    keyed.start_agent("n1", "demo")
    old = ids_in(master)[0]
    master_key("rotate", master)
    new = next(one for one in ids_in(master) if one != old)
    keyed.start_agent("n2", "demo")
    eventually(lambda: counts(keyed) == {old: 0, new: 2}, "all content keys are wrapped by the new master key")
    keyed.start_agent("n3", "demo")
    keyed.wait_ready("demo")
    assert content_key(keyed) == before
    assert keyed.api().assembly("demo").state == READY
    await_line(keyed.server, "master_keys=rewrapped content_keys=2 left=0 failed=0")
    told = keyed.muster("events", "--model", "llama@v2").stdout
    assert "VERSION_KEY" in told and new in told
    status = keyed.muster("keys", "status").stdout
    assert [line.split() for line in status.splitlines()[1:]] == [
        words for _, words in sorted([(old, [old, "unused", "0"]), (new, [new, "current", "2"])])
    ]
    # Nobody needs the old one now.
    master_key("retire", master, old, "--unused")
    eventually(lambda: counts(keyed) == {new: 2}, "the old master key is forgotten")
    keyed.kill_server()
    keyed.start_server()
    assert content_key(keyed) == before
    out = tmp_path / "out"
    keyed.muster("export", "llama@v2", "--out", out)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)


def test_master_key_that_is_needed_is_not_let_go(keyed, source, master):
    publish(keyed, source)
    key = content_key(keyed)
    kept = master.read_text()
    old = ids_in(master)[0]
    refused = master_key("retire", master, old, check=False)
    assert refused.returncode == 2 and "--unused" in refused.stderr
    assert "is the current master key" in master_key("retire", master, old, "--unused", check=False).stderr
    # Somebody edits the file by hand, wrongly.
    other = master.parent / "other.keys"
    master_key("new", other)
    master.write_text(other.read_text())
    line = await_line(keyed.server, "master_keys=refused")
    assert "lacks master keys that content keys are wrapped by" in line and old in line
    assert content_key(keyed) == key
    master.write_text("nonsense\n")
    await_line(keyed.server, "line 1: the key is not 32 bytes")
    assert content_key(keyed) == key

    # After a restart without it, the loss is said for what it is.
    keyed.kill_server()
    master.write_text(other.read_text())
    keyed.start_server()
    await_line(keyed.server, f"master_keys=missing master_key_id={old} content_keys=1")
    with pytest.raises(ApiError) as lost:
        content_key(keyed)
    assert lost.value.code == grpc.StatusCode.DATA_LOSS
    assert lost.value.info.reason == "MASTER_KEY_MISSING" and lost.value.info.metadata["master_key_id"] == old
    failed = keyed.muster("export", "llama@v1", "--out", keyed.directory / "out", check=False)
    assert failed.code != 0 and old in failed.stderr and "--master-key" in failed.stderr
    assert "missing" in keyed.muster("keys", "status").stdout
    # The rows say the same while no server runs.
    keyed.kill_server()
    master.write_text(kept)
    master_key("rotate", master)
    needed = master_key("retire", master, old, "--data-dir", keyed.data_dir, check=False)
    assert needed.returncode == 3 and "1 content keys" in needed.stderr
    assert old in ids_in(master)
    keyed.start_server()
    assert content_key(keyed) == key


def test_server_without_a_master_key_makes_none_and_leaves_nothing_behind(cluster, source):
    refused = publish(cluster, source, check=False)
    assert refused.code != 0
    assert "the server has no master key" in refused.stderr and "musterd master-key new" in refused.stderr
    assert not cluster.api().models.ListModelVersions().model_versions
    assert not files_below(cluster.store)
    assert "no master key" in cluster.muster("keys", "status").stdout


def test_exposed_or_bad_files_of_master_keys_end_the_start(new_cluster, master):
    cluster = new_cluster()
    for change, says in [
        (lambda: master.chmod(0o640), "chmod 600"),
        (lambda: (master.chmod(0o600), master.write_text("a b\n")), "line 1"),
        (master.unlink, "No such file"),
    ]:
        change()
        server = cluster.start_server("--master-key", master, wait=False)
        assert server.wait(30) == 4
        assert says in server.output()


def test_version_that_is_not_encrypted_by_the_server_has_no_key(keyed, source):
    keyed.publish(source, "plain@v1", shards=SHARDS)
    with pytest.raises(ApiError) as none:
        content_key(keyed, "models/plain/versions/v1")
    assert none.value.code == grpc.StatusCode.NOT_FOUND and none.value.info.reason == "NO_CONTENT_KEY"
    with pytest.raises(ApiError) as unknown:
        content_key(keyed, "models/none/versions/v1")
    assert unknown.value.info.reason == "VERSION_UNKNOWN"
    refused = keyed.publish(source, "own@v1", "--key-from-server", "--key-id", "prod", check=False)
    assert refused.code == 2 and "--key-from-server" in refused.stderr
