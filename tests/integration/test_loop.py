"""The main job end to end: publish, assign, pull, verify, READY, assemble; checked by Python's safetensors."""

import pathlib
import random
import subprocess
import sys

import pytest
from harness import checkpoints
from harness.api import DEGRADED, READY
from harness.conditions import always, eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARDS = 5
NAMED_STRATEGIES = ["layer", "type", "uniform"]


@pytest.fixture(name="single_file", scope="module")
def make_single_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer())


@pytest.fixture(name="directory", scope="module")
def make_directory(tmp_path_factory):
    return checkpoints.write_hugging_face(tmp_path_factory.mktemp("source") / "llama", checkpoints.transformer(seed=1))


def stored_shards(cluster, model="llama", version="v1"):
    """Path of each stored shard in order, from the catalogue's locations."""
    shards = sorted(cluster.api().shards(model, version), key=lambda shard: shard.index)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    return [pathlib.Path(shard.locations[0].uri.removeprefix("file://")) for shard in shards]


def run_loop(cluster, source, strategy, policy="balanced", out="assembled", shards=SHARDS):
    """Returns the directory of the assembled model."""
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", strategy=strategy, shards=shards)
    cluster.create_assembly("demo", "llama@v1", policy=policy, min_nodes=3)
    agents = cluster.start_agents(3, "demo")
    cluster.wait_ready("demo")
    assert cluster.muster("status", "demo", "--json").json()["assembly"]["state"] == "READY"
    out = cluster.directory / out
    cluster.muster("assemble", "llama@v1", "--out", out, "--cache", cluster.cache("n1"))
    for agent in agents:
        assert agent.running(), agent.output()
    compare = [sys.executable, str(ROOT / "deploy/compare_checkpoints.py"), str(source), str(out)]
    compared = subprocess.run(compare, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr
    return out


@pytest.mark.parametrize("strategy", NAMED_STRATEGIES)
def test_single_file_comes_back_with_equal_tensors(cluster, single_file, strategy):
    expected = checkpoints.open_with_safetensors(single_file)

    out = run_loop(cluster, single_file, strategy)

    assert checkpoints.open_directory(out) == expected
    for path in out.glob("*.safetensors"):
        assert checkpoints.metadata_of(path) == checkpoints.METADATA


@pytest.mark.parametrize("strategy", NAMED_STRATEGIES)
def test_directory_comes_back_with_equal_tensors_and_companions(cluster, directory, strategy):
    expected = checkpoints.open_directory(directory)

    out = run_loop(cluster, directory, strategy)

    assert checkpoints.open_directory(out) == expected
    assert checkpoints.companions(out) == checkpoints.companions(directory)


@pytest.mark.parametrize("strategy", NAMED_STRATEGIES)
def test_every_shard_is_a_safetensors_file_with_aligned_data(cluster, directory, strategy):
    cluster.publish(directory, "llama@v1", strategy=strategy, shards=SHARDS)

    found = {}
    shards = stored_shards(cluster)
    for path in shards:
        tensors = checkpoints.open_with_safetensors(path)
        assert tensors, f"{path} is empty"
        assert not tensors.keys() & found.keys()
        found.update(tensors)
        with open(path, "rb") as file:
            assert (8 + int.from_bytes(file.read(8), "little")) % 4096 == 0
        assert checkpoints.metadata_of(path) == checkpoints.METADATA
    assert len(shards) == SHARDS
    assert found == checkpoints.open_directory(directory)


def test_cuts_are_the_same_however_the_source_is_laid_out(new_cluster, tmp_path):
    tensors = checkpoints.transformer(seed=3)
    shuffled = tensors[:]
    random.Random(5).shuffle(shuffled)
    digests = []
    for name, source in (
        ("one", checkpoints.write_safetensors(tmp_path / "one.safetensors", tensors)),
        ("three", checkpoints.write_hugging_face(tmp_path / "three", shuffled, files=3)),
    ):
        cluster = new_cluster(f"cluster-{name}")
        cluster.start_server()
        cluster.publish(source, "llama@v1", strategy="layer", shards=SHARDS)
        digests.append([shard.md5 for shard in cluster.api().shards("llama", "v1")])

    assert digests[0] == digests[1]


@pytest.mark.parametrize("shards", [1, 4])
def test_raw_brings_back_any_file(cluster, tmp_path, shards):
    source = tmp_path / "weights.gguf"
    source.write_bytes(random.Random(7).randbytes(5_000_001))

    out = run_loop(cluster, source, "raw", shards=shards)

    assert (out / "weights.gguf").read_bytes() == source.read_bytes()
    stored = b"".join(path.read_bytes() for path in stored_shards(cluster))
    assert stored == source.read_bytes()


def test_raw_brings_back_a_directory_byte_for_byte(cluster, directory):
    out = run_loop(cluster, directory, "raw")

    ours = {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    theirs = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert ours == theirs


def test_named_strategy_on_a_pytorch_file_is_refused_with_advice(cluster, tmp_path):
    source = tmp_path / "weights.pth"
    source.write_bytes(b"PK\x03\x04" + random.Random(8).randbytes(100_000))

    result = cluster.publish(source, "llama@v1", strategy="layer", check=False)

    assert result.code == 1
    assert "weights.pth" in result.stderr
    assert "--strategy raw" in result.stderr


def test_full_policy_gives_every_node_every_shard(cluster, single_file):
    run_loop(cluster, single_file, "uniform", policy="full")

    members = cluster.api().assemblies.GetAssembly(name="assemblies/demo").members
    assert [(member.shards_assigned, member.shards_ready) for member in members] == [(SHARDS, SHARDS)] * 3


def test_balanced_policy_splits_by_bytes(cluster, single_file):
    run_loop(cluster, single_file, "uniform", policy="balanced", shards=9)

    members = cluster.api().assemblies.GetAssembly(name="assemblies/demo").members
    assert [member.shards_assigned for member in members] == [3, 3, 3]
    assert max(member.ready_bytes for member in members) <= 1.2 * min(member.ready_bytes for member in members)


def test_balanced_policy_with_replicas_holds_each_shard_twice(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", "--replicas", 2, min_nodes=3)
    cluster.start_agents(3, "demo")
    cluster.wait_ready("demo")

    for shard in range(SHARDS):
        status = cluster.api().assemblies.GetShardStatus(name="assemblies/demo", shard=shard)
        assert len({replica.node for replica in status.replicas}) == 2
        assert status.replicas_ready == status.replicas_required == 2


def test_declared_policy_gives_what_is_claimed_and_names_what_remains(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="declared", min_nodes=2)
    cluster.start_agent("n1", "demo", "--claim", "0,3-4")
    cluster.start_agent("n2", "demo", "--claim", "1")
    api = cluster.api()
    eventually(lambda: api.assembly("demo").shards_ready == 4, "the claimed shards are READY")

    waiting = cluster.wait_ready("demo", timeout=1, check=False)
    assert waiting.code == 3
    assert "2" in waiting.text and "claim" in waiting.text
    cluster.start_agent("n3", "demo", "--claim", "any")
    cluster.wait_ready("demo")

    holders = {
        shard: [replica.node for replica in api.assemblies.GetShardStatus(name="assemblies/demo", shard=shard).replicas]
        for shard in range(SHARDS)
    }
    assert holders == {0: ["nodes/n1"], 1: ["nodes/n2"], 2: ["nodes/n3"], 3: ["nodes/n1"], 4: ["nodes/n1"]}


def test_capacity_bounds_what_a_node_gets(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS, strategy="uniform")
    largest = max(shard.size_bytes for shard in cluster.api().shards("llama", "v1"))
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agent("n1", "demo", "--capacity", f"{largest}")
    cluster.start_agent("n2", "demo")
    cluster.wait_ready("demo")

    for member in cluster.api().assemblies.GetAssembly(name="assemblies/demo").members:
        assert member.node != "nodes/n1" or member.assigned_bytes <= largest


def test_nothing_is_assigned_before_min_nodes_have_joined(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    api = cluster.api()
    cluster.start_agent("n1", "demo")
    eventually(lambda: api.assembly("demo").nodes_joined == 1, "n1 joined")

    waiting = cluster.wait_ready("demo", timeout=1, check=False)
    assert waiting.code == 3
    assert "1 of 3 nodes joined" in waiting.text
    assert api.assembly("demo").generation == 0
    cluster.start_agent("n2", "demo")
    eventually(lambda: api.assembly("demo").nodes_joined == 2, "n2 joined")
    always(lambda: api.assembly("demo").generation == 0, "nothing is assigned", 0.3)
    cluster.start_agent("n3", "demo")
    cluster.wait_ready("demo")


def test_agents_create_their_assembly_and_refuse_a_different_one(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.publish(single_file, "llama@v2", shards=SHARDS)
    cluster.start_agents(3, "demo", "--model", "llama@v1", "--policy", "balanced", "--min-nodes", 3)
    cluster.await_assembly("demo")
    cluster.wait_ready("demo")

    other = cluster.start_agent("n4", "demo", "--model", "llama@v2", "--policy", "balanced", "--min-nodes", 3)

    assert other.wait(20) == 1
    assert "llama@v1" in other.output() or "models/llama/versions/v1" in other.output()
    assert "llama@v2" in other.output() or "models/llama/versions/v2" in other.output()
    assert cluster.api().is_ready("demo")


def test_wait_for_a_node_and_wait_that_began_first(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    assembly = cluster.spawn_muster("wait-assembly", "wait", "demo", "--timeout", "60s")
    node = cluster.spawn_muster("wait-node", "wait", "demo", "--node", "n2", "--timeout", "60s")
    cluster.start_agents(2, "demo")

    assert assembly.wait(60) == 0
    assert node.wait(60) == 0


def test_wait_for_an_unknown_assembly_fails_at_once(cluster):
    result = cluster.wait_ready("nothing", timeout=30, check=False)

    assert result.code == 1
    assert "nothing" in result.stderr


def test_pull_needs_no_registration_and_takes_shards(cluster, single_file, tmp_path):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)

    cluster.muster("pull", "llama@v1", "--out", tmp_path / "some", "--shards", "0,3-4")
    cluster.muster("pull", "llama@v1", "--out", tmp_path / "all")

    digests = [shard.md5 for shard in cluster.api().shards("llama", "v1")]
    some = [checkpoints.md5_file(path) for path in (tmp_path / "some").rglob("*.safetensors")]
    everything = [checkpoints.md5_file(path) for path in (tmp_path / "all").rglob("*.safetensors")]
    assert sorted(some) == sorted(digests[i] for i in (0, 3, 4))
    assert sorted(everything) == sorted(digests)
    assert not cluster.api().nodes.ListNodes().nodes


def test_verify_passes_on_what_is_whole(cluster, single_file, tmp_path):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "out")

    cluster.muster("verify", "llama@v1")
    cluster.muster("verify", "llama@v1", "--whole")
    cluster.muster("verify", "llama@v1", "--dir", tmp_path / "out")


def test_sample_is_seeded_and_goes_through_the_loop(cluster, tmp_path):
    for name in ("a", "b"):
        cluster.muster("sample", "--out", tmp_path / f"{name}.safetensors", "--size", "8MiB")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()

    out = run_loop(cluster, tmp_path / "a.safetensors", "layer")

    assert checkpoints.open_directory(out) == checkpoints.open_with_safetensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("command", ["models", "nodes", "assemblies", "status"])
def test_tables_and_json_name_what_is_there(cluster, single_file, command):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1")
    cluster.start_agents(1, "demo")
    cluster.wait_ready("demo")
    name = {"models": "llama", "nodes": "n1", "assemblies": "demo", "status": "demo"}[command]

    assert name in cluster.muster(command).stdout
    assert name in str(cluster.muster(command, "--json").json())
    assert cluster.muster("shards", "llama@v1").stdout.count("\n") >= SHARDS


def test_two_assemblies_load_one_model_side_by_side(cluster, single_file):
    cluster.publish(single_file, "llama@v1", shards=SHARDS)
    cluster.create_assembly("blue", "llama@v1", policy="full")
    cluster.create_assembly("green", "llama@v1", policy="balanced")
    cluster.start_agent("n1", "blue")
    cluster.start_agent("n2", "green")

    cluster.wait_ready("blue")
    cluster.wait_ready("green")
    states = {one.name: one.state for one in cluster.api().assemblies.ListAssemblies().assemblies}
    assert states == {"assemblies/blue": READY, "assemblies/green": READY}
    assert DEGRADED not in states.values()
