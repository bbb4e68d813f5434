"""Whether shards fit is said before the first byte, and which shards the first layers need."""

import pytest
from harness import checkpoints
from harness.caches import entries
from harness.conditions import eventually

LAYERS = 4
SHARDS = 6


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=LAYERS))


@pytest.fixture(name="published")
def publish(cluster, source):
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    return cluster


def sizes(cluster):
    return {shard.index: shard.size_bytes for shard in cluster.api().shards("llama", "v1")}


def dry_run(cluster, command, *words, code=0):
    result = cluster.muster(command, *words, "--dry-run", "--json", check=False)
    assert result.code == code, str(result)
    return result.json()


def agent_words(cache, *words):
    return ["--node", "n1", "--assembly", "demo", "--cache", cache, *words]


def test_agent_dry_run_says_what_a_node_would_need_and_changes_nothing(published, tmp_path):
    cache, total = tmp_path / "cache", sum(sizes(published).values())
    words = agent_words(cache, "--model", "llama@v1", "--policy", "full")

    before = dry_run(published, "agent", *words)
    small = dry_run(published, "agent", *words, "--cache-budget", str(total - 1), code=1)
    text = published.muster("agent", *words, "--dry-run").stdout

    assert before == {
        "shards": SHARDS, "needed_bytes": total, "pinned_bytes": 0, "evictable_bytes": 0,
        "free_bytes": before["free_bytes"], "fits": True, "at_most": False,
    }  # fmt: skip
    assert (small["free_bytes"], small["fits"]) == (total - 1, False)
    assert "needed " in text and ": fits" in text
    assert not entries(cache)
    assert published.muster("assemblies", "--json").json()["items"] == []
    assert published.muster("nodes", "--json").json()["items"] == []


def test_agent_dry_run_knows_what_is_assigned_already(published, tmp_path):
    published.create_assembly("demo", "llama@v1", policy="balanced", min_nodes=2)
    cache, total = tmp_path / "cache", sum(sizes(published).values())
    guess = dry_run(published, "agent", *agent_words(cache))
    assert (guess["needed_bytes"], guess["at_most"]) == (total, True)
    too_small = dry_run(published, "agent", *agent_words(cache, "--cache-budget", "1MiB"))
    assert (too_small["fits"], too_small["at_most"]) == (False, True)
    agent = published.start_agent("n1", "demo", cache=cache)
    published.start_agent("n2", "demo")
    published.wait_ready("demo")

    same_cache = dry_run(published, "agent", *agent_words(cache))
    another = dry_run(published, "agent", *agent_words(tmp_path / "another"))

    assert 0 < another["needed_bytes"] < total
    assert not another["at_most"]
    assert same_cache["needed_bytes"] == 0
    assert agent.running()
    assert published.api().is_ready("demo")


def test_refused_agent_reports_no_space_once_with_its_numbers(published, tmp_path):
    total = sum(sizes(published).values())
    published.create_assembly("demo", "llama@v1", policy="full")
    published.start_agent("n1", "demo", "--cache-budget", str(total - 1), cache=tmp_path / "cache")

    def reasons():
        found = published.api().assembly("demo").reasons
        failed = [one for one in found if one.failure_reason == "CACHE_FULL"]
        return failed if sum(one.shard_count for one in failed) == SHARDS else None

    (reason,) = eventually(reasons, "the assembly says why, of all shards")
    assert (reason.needed_bytes, reason.free_bytes) == (total, total - 1)
    assert reason.message == (
        f"n1: needs {total} bytes for this model, {total - 1} bytes free in its cache ({SHARDS} shards)"
    )
    replica = published.api().assemblies.GetShardStatus(name="assemblies/demo", shard=0).replicas[0]
    assert f" has room for {total - 1} bytes, and {total} bytes are needed" in replica.failure.message
    assert "--cache-budget" in replica.failure.message
    assert not entries(tmp_path / "cache")


def test_cache_that_is_too_small_is_told_once_everywhere(published, tmp_path):
    total = sum(sizes(published).values())
    published.create_assembly("demo", "llama@v1", policy="full")
    agent = published.start_agent("n1", "demo", "--cache-budget", str(total // 2), cache=tmp_path / "cache")
    api = published.api()

    def all_failed_twice():
        statuses = [api.assemblies.GetShardStatus(name="assemblies/demo", shard=i).replicas for i in range(SHARDS)]
        return all(replicas and replicas[0].failure.attempts >= 2 for replicas in statuses)

    eventually(all_failed_twice, "every shard has failed twice")
    status = published.muster("status", "demo").stdout
    explained = published.muster("explain", "demo").stdout
    waited = published.muster("wait", "demo", "--timeout", "1s", check=False)

    cause = "n1: needs "
    assert status.count(cause) == 1, status
    assert status.count("NO_SPACE") == 1, status
    assert explained.count(f"SHARD_FAILED: {cause}") == 1, explained
    assert "do: give the cache of n1 more room" in explained
    assert "muster verify" not in explained
    assert waited.code == 3
    assert max(len(line) for line in waited.text.splitlines()) < 500
    assert "hint: `muster explain demo`" in waited.text
    log = agent.output()
    assert log.count("state=failed") == 1, log
    assert log.count("state=fetching") <= 2, log


def test_pull_says_what_is_missing_and_whether_it_fits(published, tmp_path):
    out, shard_sizes = tmp_path / "out", sizes(published)
    before = dry_run(published, "pull", "llama@v1", "--out", out)
    assert not out.exists()
    published.muster("pull", "llama@v1", "--out", out, "--shards", "0,2")
    after = dry_run(published, "pull", "llama@v1", "--out", out)

    assert (before["shards"], before["needed_bytes"]) == (SHARDS, sum(shard_sizes.values()))
    assert before["free_bytes"] > 0
    assert before["needed_bytes"] - after["needed_bytes"] == shard_sizes[0] + shard_sizes[2]


def test_prefetch_of_first_layers_takes_their_shards_alone(published, tmp_path):
    cache, holders = tmp_path / "cache", {}
    models = published.api().models
    for tensor in published.api().paged(models.ListTensors, "tensors", name="models/llama/versions/v1"):
        holders.setdefault(tensor.shard, set()).add(tensor.name)
    wanted = [
        index
        for index, names in holders.items()
        if any("embed" in name or ".layers.0." in name or ".layers.1." in name for name in names)
    ]
    assert 0 < len(wanted) < SHARDS

    some = published.muster("prefetch", "llama@v1", "--cache", cache, "--first-layers", "2", "--json").json()

    assert some["shards"] == len(wanted)
    assert some["size_bytes"] == sum(sizes(published)[index] for index in wanted)
    assert len(entries(cache)) == len(wanted)


def test_first_layers_of_a_raw_model_are_refused(published, source, tmp_path):
    published.publish(source, "raw@v1", strategy="raw", shards=2)
    refused = published.muster(
        "prefetch", "raw@v1", "--cache", tmp_path / "cache", "--first-layers", "2", check=False
    )
    assert refused.code == 1
    assert "raw@v1" in refused.text
    assert "name the shards" in refused.text
