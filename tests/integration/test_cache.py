"""The cache of a node: shared by processes, bounded, pinned, scrubbed, filled ahead (invariant 3, docs/design.md)."""

import pathlib
import re

import pytest
from harness import checkpoints
from harness.api import DEGRADED, READY
from harness.caches import entries, fetched_bytes
from harness.conditions import always, eventually

SHARDS = 4


@pytest.fixture(name="sources", scope="module")
def make_sources(tmp_path_factory):
    """Two models of one size with other bytes."""
    directory = tmp_path_factory.mktemp("sources")
    return [
        checkpoints.write_safetensors(directory / f"{seed}.safetensors", checkpoints.transformer(seed=seed))
        for seed in (1, 2)
    ]


@pytest.fixture(name="published")
def publish(cluster, sources):
    for number, source in enumerate(sources):
        cluster.publish(source, f"llama@v{number}", "--piece-size", "1MiB", shards=SHARDS)
        cluster.create_assembly(f"demo{number}", f"llama@v{number}", policy="full")
    return cluster


def total_bytes(cluster, version="v0"):
    return sum(shard.size_bytes for shard in cluster.api().shards("llama", version))


def cache_command(cluster, cache, *words, **kwargs):
    return cluster.muster("cache", words[0], "--cache", cache, *words[1:], "--json", **kwargs)


def test_two_agents_with_one_cache_fetch_each_shard_once(published, tmp_path):
    published.create_assembly("both", "llama@v0", policy="full", min_nodes=2)
    cache = tmp_path / "cache"
    agents = [published.start_agent(node, "both", cache=cache) for node in ("n1", "n2")]
    published.wait_ready("both")

    def all_told():
        told = [len(re.findall(r" state=ready ", agent.output())) for agent in agents]
        return told == [SHARDS, SHARDS]

    eventually(all_told, "both agents say that every shard is READY")
    assert sum(fetched_bytes(agent) for agent in agents) == total_bytes(published)
    assert len(entries(cache)) == SHARDS
    owners = {pin["owner"] for pin in cache_command(published, cache, "pins").json()["items"]}
    assert owners == {"assemblies/both/nodes/n1", "assemblies/both/nodes/n2"}


def test_full_cache_refuses_with_its_numbers_and_keeps_what_is_pinned(published, tmp_path):
    cache, total = tmp_path / "cache", total_bytes(published)
    budget = ["--cache-budget", total + total // 2]
    first = published.start_agent("n1", "demo0", *budget, cache=cache)
    published.wait_ready("demo0")
    kept = sorted(path.name for path in entries(cache))
    second = published.start_agent("n2", "demo1", *budget, cache=cache)

    def refusal():
        replicas = published.api().assemblies.GetShardStatus(name="assemblies/demo1", shard=0).replicas
        return next((one.failure for one in replicas if one.failure.code == one.failure.NO_SPACE), None)

    failure = eventually(refusal, "the second agent refuses")
    assert (failure.needed_bytes, failure.free_bytes) == (total_bytes(published, "v1"), total // 2)
    assert "the rest is pinned by assemblies/demo0/nodes/n1 (" in failure.message
    assert sorted(path.name for path in entries(cache)) == kept, "nothing of it was fetched"

    # The first one goes and does not come back; its pin is all that is left.
    first.kill()
    assert cache_command(published, cache, "evict", "--to", "0").json()["evicted"] == []
    refused = published.muster("cache", "evict", "--cache", cache, kept[0], check=False)
    assert refused.code == 1
    assert "assemblies/demo0/nodes/n1" in refused.text
    published.muster("cache", "unpin", "--cache", cache, "demo0")

    published.wait_ready("demo1")
    second.terminate()
    used = cache_command(published, cache, "list").json()["used_bytes"]
    assert used <= total + total // 2
    assert published.muster("cache", "unpin", "--cache", cache, "demo0", check=False).code == 1


def owners_of(cluster, cache):
    return sorted(pin["owner"] for pin in cache_command(cluster, cache, "pins").json()["items"])


def test_pins_end_with_their_assembly_whoever_made_them(published, tmp_path):
    cache = tmp_path / "cache"
    for number in (0, 1):
        published.start_agent(f"old{number}", f"demo{number}", cache=cache)
        published.wait_ready(f"demo{number}")
    published.muster("prefetch", "llama@v1", "--cache", cache)
    for process in published.processes[-2:]:
        process.kill()
    # One is deleted, the other one made again.
    for number in (0, 1):
        published.muster("assemblies", "delete", f"demo{number}", "--force")
    published.create_assembly("demo1", "llama@v1", policy="full")
    published.create_assembly("third", "llama@v1", policy="full")
    both = ["assemblies/demo0/nodes/old0", "assemblies/demo1/nodes/old1"]
    assert owners_of(published, cache) == both

    # Nobody who could know has started on the cache yet. What stays is said, with the way out.
    kept = published.muster("cache", "evict", "--cache", cache, "--to", "0")
    assert "evicted 0" in kept.stdout
    for owner in both:
        assert f"pinned by {owner}; if that is over: `muster cache unpin --cache {cache} {owner}`" in kept.stderr, str(kept)
    as_json = cache_command(published, cache, "evict", "--to", "0").json()
    assert [one["owner"] for one in as_json["kept_by"]] == both

    published.start_agent("new", "third", cache=cache)
    published.wait_ready("third")

    eventually(lambda: owners_of(published, cache) == ["assemblies/third/nodes/new"], "the next agent lets go of both")
    cache_command(published, cache, "evict", "--to", "0")
    assert len(entries(cache)) == SHARDS, "its own stay"


def test_pins_stay_while_nobody_says_that_their_assembly_is_gone(published, new_cluster, tmp_path, sources):
    cache = tmp_path / "cache"
    published.start_agent("old", "demo0", cache=cache)
    published.wait_ready("demo0")
    published.processes[-1].kill()

    # Another cluster, which knows no such assembly.
    other = new_cluster("other")
    other.start_server()
    other.publish(sources[1], "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    other.create_assembly("here", "llama@v1", policy="full")
    other.start_agent("n1", "here", cache=cache)
    other.wait_ready("here")
    # And one of this cluster, where the assembly lives.
    published.start_agent("n2", "demo1", cache=cache)
    published.wait_ready("demo1")

    kept = ["assemblies/demo0/nodes/old", "assemblies/demo1/nodes/n2", "assemblies/here/nodes/n1"]
    always(lambda: owners_of(published, cache) == kept, "all are kept", 2)


def test_agent_that_leaves_lets_its_shards_go(published, tmp_path):
    cache = tmp_path / "cache"
    agent = published.start_agent("n1", "demo0", "--on-stop", "leave", cache=cache)
    published.wait_ready("demo0")
    assert len(cache_command(published, cache, "pins").json()["items"][0]["keys"]) == SHARDS

    agent.terminate()

    assert cache_command(published, cache, "pins").json()["items"] == []
    assert len(cache_command(published, cache, "evict", "--to", "0").json()["evicted"]) == SHARDS
    assert not entries(cache)


def test_prefetched_shards_are_not_fetched_again(published, tmp_path):
    cache, total = tmp_path / "cache", total_bytes(published)
    plan = published.muster("prefetch", "llama@v0", "--cache", cache, "--dry-run", "--json").json()
    assert (plan["needed_bytes"], plan["fits"]) == (total, True)
    some = published.muster("prefetch", "llama@v0", "--cache", cache, "--shards", "0,2-3", "--json").json()
    assert some["shards"] == 3
    everything = published.muster("prefetch", "llama@v0", "--cache", cache, "--json").json()
    assert everything["hits"] == 3
    assert some["fetched_bytes"] + everything["fetched_bytes"] == total

    agent = published.start_agent("n1", "demo0", cache=cache)
    published.wait_ready("demo0")

    assert fetched_bytes(agent) == 0


def test_prefetch_that_does_not_fit_is_refused_before_the_first_byte(published, tmp_path):
    cache = tmp_path / "cache"
    words = ["prefetch", "llama@v0", "--cache", cache, "--cache-budget", total_bytes(published) - 1]

    for extra in ([], ["--dry-run"]):
        refused = published.muster(*words, *extra, check=False)
        assert refused.code == 1
        assert f"{total_bytes(published)} bytes are needed" in refused.text
    assert not entries(cache)


def test_scrub_withdraws_ready_and_fetches_what_rotted(published, tmp_path):
    cache = tmp_path / "cache"
    agent = published.start_agent(
        "n1", "demo0", "--scrub-rate", "1GiB", "--scrub-interval", "50ms", cache=cache
    )
    published.wait_ready("demo0")
    watch = published.api().assemblies.WatchAssembly(name="assemblies/demo0", timeout=60)
    assert next(watch).assembly.state == READY
    rotten = entries(cache)[0]
    before = rotten.read_bytes()
    # As long as the shard can't be fetched again the barrier is down.
    store = pathlib.Path(published.store)
    away = store.rename(store.with_suffix(".away"))
    rotten.chmod(0o644)
    checkpoints.flip_byte(rotten, len(before) // 2)

    assert next(message for message in watch if message.assembly.state != READY).assembly.state == DEGRADED
    assert not rotten.exists()
    away.rename(store)
    next(message for message in watch if message.assembly.state == READY)

    assert rotten.read_bytes() == before
    assert "the cache entry was removed" in agent.output()


def test_scrub_fetches_what_somebody_evicted_by_force(published, tmp_path):
    cache = tmp_path / "cache"
    published.start_agent("n1", "demo0", "--scrub-interval", "50ms", "--scrub-rate", "1GiB", cache=cache)
    published.wait_ready("demo0")
    key = entries(cache)[0].name

    published.muster("cache", "evict", "--cache", cache, "--force", key)

    eventually(lambda: key in [path.name for path in entries(cache)], "the shard is fetched again")
    eventually(lambda: published.api().is_ready("demo0"), "READY again")


def test_cache_verify_removes_what_rotted_and_nothing_else(published, tmp_path):
    cache = tmp_path / "cache"
    published.muster("prefetch", "llama@v0", "--cache", cache)
    assert cache_command(published, cache, "verify").json()["good"] == SHARDS
    rotten = entries(cache)[1]
    rotten.chmod(0o644)
    checkpoints.flip_byte(rotten, 3)

    found = cache_command(published, cache, "verify", check=False)

    assert found.code == 1
    assert found.json()["good"] == SHARDS - 1
    assert rotten.name in found.json()["removed"][0]
    assert rotten.name not in [path.name for path in entries(cache)]
    items = cache_command(published, cache, "list").json()["items"]
    assert len(items) == SHARDS - 1
    assert all(item["last_use_unix_seconds"] > 0 and not item["in_use"] for item in items)


@pytest.fixture(name="stopped")
def stop_writer(published, tmp_path):
    """An agent that was stopped while it writes shards into a cache that others share."""
    cache = tmp_path / "cache"
    writer = published.start_agent("n1", "demo0", "--max-rate", "400KiB", cache=cache)
    eventually(lambda: list(cache.glob("*/*.part")), "n1 writes")
    writer.pause()
    return writer


def test_writer_that_stands_still_holds_nobody_up(published, stopped, tmp_path):
    cache = tmp_path / "cache"
    other = published.start_agent("n2", "demo0", "--cache-wait", "1s", cache=cache)

    eventually(lambda: len(re.findall(r" state=ready ", other.output())) == SHARDS, "n2 has every shard")

    assert f"process {stopped.pid} (muster) has locked it and wrote nothing for 1s" in other.output()
    stopped.resume()
    published.wait_ready("demo0")
    assert len(entries(cache)) == SHARDS
    assert not list(cache.glob("*/*.part"))


def test_prefetch_says_whom_it_does_not_wait_for(published, stopped, tmp_path):
    cache = tmp_path / "cache"

    done = published.muster("prefetch", "llama@v0", "--cache", cache, "--cache-wait", "1s")

    assert f"process {stopped.pid} (muster) has locked it and wrote nothing for 1s" in done.stderr
    assert len(entries(cache)) == SHARDS


def test_domains_of_one_cache_share_nothing(published, tmp_path):
    cache = tmp_path / "cache"
    for domain in ("team-a", "team-b"):
        words = ["--cache", cache, "--cache-domain", domain]
        assert published.muster("prefetch", "llama@v0", *words, "--json").json()["hits"] == 0
        assert len(entries(cache / domain)) == SHARDS

    items = cache_command(published, cache, "list", "--cache-domain", "team-a").json()["items"]
    assert len(items) == SHARDS
    cache_command(published, cache, "evict", "--cache-domain", "team-a", "--to", "0")
    assert not entries(cache / "team-a")
    made = published.muster("assemble", "llama@v0", "--out", tmp_path / "out", *words)
    assert f"{SHARDS} shards from the cache" in made.text
