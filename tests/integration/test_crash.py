"""kill -9 at random moments loses nothing acknowledged, and the loop ends READY (invariant 1, docs/design.md)."""

import random
import threading
import time

import pytest
from harness import checkpoints
from harness.api import ApiError
from harness.caches import claimed_bytes, entries, fetched_bytes
from harness.conditions import eventually
from harness.ledger import Writer, check_ledger

KILLS_PER_PHASE = 50
MEBIBYTE = 1 << 20
KILLS_OF_AGENTS = 50
WRITERS = 3
SHARDS = 6
# Kills come from the beginning until a little after the end of what they are to hit, as long as that took when measured.
LATEST_KILL = 1.1


class Writers:
    """Concurrent writers from start to the server's death, and the check of all replies that they got."""

    def __init__(self):
        self.ledgers = []
        self._running = []

    def start(self, cluster, round_number, seed):
        self._running = [
            Writer(cluster.api(), f"w{round_number}-{i}", seed * 100 + i) for i in range(WRITERS)
        ]
        for writer in self._running:
            writer.start()

    def join(self):
        """To be called once the server was killed; returns the ledgers of this round."""
        for writer in self._running:
            writer.join(60)
            assert not writer.is_alive(), f"{writer.name} does not notice that the server is gone"
            if writer.problem:
                raise writer.problem
        ledgers = [writer.ledger for writer in self._running]
        self.ledgers.extend(ledgers)
        return ledgers


def kill_after(process, seconds, just_before=lambda: None):
    """Kills the process after that time, whatever is going on; returns when it is dead."""
    threading.Event().wait(seconds)
    just_before()
    process.kill()
    assert process.exit_code == -9


def seconds_of(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def ready(api, assembly):
    try:
        return api.is_ready(assembly)
    except ApiError:
        return False


def assert_loop_ends_ready(cluster, assembly, agents):
    cluster.await_assembly(assembly)
    cluster.wait_ready(assembly, timeout=60)
    for agent in agents:
        assert agent.running(), agent.output()


def stop_agents(agents):
    for agent in agents:
        agent.kill()


@pytest.mark.limit(400)
def test_server_killed_during_publish_loses_nothing(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=8, width=512))
    writers, api = Writers(), cluster.api()
    latest = LATEST_KILL * seconds_of(lambda: cluster.publish(source, "measured@v1", "--piece-size", "1MiB", shards=SHARDS))
    interrupted = 0
    for seed in range(KILLS_PER_PHASE):
        chance = random.Random(seed)
        model = f"published{seed}@v1"
        writers.start(cluster, f"p{seed}", seed)
        publisher = cluster.spawn_muster(
            f"publish-{seed}", "publish", source, "--model", model, "--to", f"file://{cluster.store}",
            "--shards", SHARDS, "--piece-size", "1MiB",
        )  # fmt: skip
        kill_after(cluster.server, chance.uniform(0, latest))
        interrupted += publisher.running()
        ledgers = writers.join()
        cluster.start_server()

        # The publisher sees it through: what it was promised before the kill still holds.
        assert publisher.wait(60) == 0, f"seed {seed}\n{publisher.output()}"
        for ledger in ledgers:
            check_ledger(api, ledger)
        version = api.models.GetModelVersion(name=f"models/published{seed}/versions/v1").model_version
        assert version.state == version.COMMITTED
        assert version.shards_added == SHARDS
    agents = cluster.start_agents(3, "demo", "--model", model, "--policy", "balanced", "--min-nodes", 3)
    assert_loop_ends_ready(cluster, "demo", agents)
    out = tmp_path / "assembled"
    cluster.muster("assemble", model, "--out", out)
    assert checkpoints.open_directory(out) == checkpoints.open_with_safetensors(source)
    for ledger in writers.ledgers:
        check_ledger(api, ledger)
    assert sum(ledger.acknowledged for ledger in writers.ledgers) > 20 * KILLS_PER_PHASE
    assert interrupted >= KILLS_PER_PHASE // 3, f"only {interrupted} kills hit a publication"


@pytest.mark.limit(400)
def test_server_killed_during_load_loses_nothing_and_ends_ready(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=8, width=512))
    cluster.publish(source, "load@v1", "--piece-size", "1MiB", shards=SHARDS)
    writers, api = Writers(), cluster.api()

    def start(name):
        return [
            cluster.start_agent(
                f"n{i}", name, "--model", "load@v1", "--policy", "balanced", "--min-nodes", 2,
                "--take-over", cache=tmp_path / f"cache-{name}-{i}", name=f"agent-{name}-n{i}",
            )
            for i in (1, 2)
        ]  # fmt: skip

    begin = time.monotonic()
    agents = start("measured")
    assert_loop_ends_ready(cluster, "measured", agents)
    latest = LATEST_KILL * (time.monotonic() - begin)
    stop_agents(agents)
    interrupted = 0
    for seed in range(KILLS_PER_PHASE):
        chance = random.Random(1000 + seed)
        assembly = f"demo{seed}"
        writers.start(cluster, f"l{seed}", seed)
        agents = start(assembly)
        before_kill = []
        kill_after(cluster.server, chance.uniform(0, latest), lambda: before_kill.append(ready(api, assembly)))
        interrupted += not before_kill[0]
        ledgers = writers.join()
        cluster.start_server()

        assert_loop_ends_ready(cluster, assembly, agents)
        for ledger in ledgers:
            check_ledger(api, ledger)
        stop_agents(agents)
    for ledger in writers.ledgers:
        check_ledger(api, ledger)
    assert interrupted >= KILLS_PER_PHASE // 3, f"only {interrupted} kills hit a load"


@pytest.mark.limit(300)
def test_agent_killed_during_pull_leaves_no_wrong_byte_and_ends_ready(cluster, tmp_path):
    source = checkpoints.write_safetensors(
        tmp_path / "model.safetensors", checkpoints.transformer(layers=8, width=512)
    )
    cluster.publish(source, "load@v1", "--piece-size", "1MiB", shards=SHARDS)
    shards = cluster.api().shards("load", "v1")
    registered = {shard.md5 for shard in shards}
    total = sum(shard.size_bytes for shard in shards)
    cluster.create_assembly("measured", "load@v1", policy="full")
    begin = time.monotonic()
    agent = cluster.start_agent("n1", "measured", cache=tmp_path / "cache-measured")
    assert_loop_ends_ready(cluster, "measured", [agent])
    latest = LATEST_KILL * (time.monotonic() - begin)
    stop_agents([agent])
    interrupted = resumed = 0
    for seed in range(KILLS_OF_AGENTS):
        chance = random.Random(2000 + seed)
        assembly, cache = f"demo{seed}", tmp_path / f"cache-{seed}"
        cluster.create_assembly(assembly, "load@v1", policy="full")
        agent = cluster.start_agent("n1", assembly, "--take-over", cache=cache, name=f"agent-{seed}")
        kill_after(agent, chance.uniform(0, latest))
        visible = entries(cache)
        assert {checkpoints.md5_file(path) for path in visible} <= registered
        interrupted += len(visible) < SHARDS
        kept = sum(path.stat().st_size for path in visible) + claimed_bytes(cache, MEBIBYTE)
        resumed += claimed_bytes(cache, MEBIBYTE) > 0

        again = cluster.start_agent("n1", assembly, cache=cache, name=f"agent-{seed}-again")
        assert_loop_ends_ready(cluster, assembly, [again])
        assert sorted(checkpoints.md5_file(path) for path in entries(cache)) == sorted(registered)
        assert fetched_bytes(again) == total - kept, "no good piece is fetched twice"
        eventually(lambda cache=cache: not list(cache.rglob("*.part")), "no part file stays")
        stop_agents([again])
    assert interrupted >= KILLS_OF_AGENTS // 3, f"only {interrupted} kills hit a pull"
    assert resumed > 0, "no kill left a piece of a shard"
