"""What an agent comes back from, what a killed command leaves, and what a process takes of the machine."""

import os
import pathlib
import resource
import shutil
import signal
import tempfile

import pytest
from harness import checkpoints
from harness.caches import entries
from harness.cluster import binary
from harness.conditions import always, cannot_run, eventually
from harness.views import await_line, lines_with

SHARDS = 4


@pytest.fixture(name="source", scope="module")
def write_source(tmp_path_factory):
    return checkpoints.write_safetensors(tmp_path_factory.mktemp("source") / "model.safetensors", checkpoints.transformer())


@pytest.fixture(name="published")
def publish(cluster, source):
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    return cluster


def test_assembly_that_is_made_again_is_joined_again(published):
    published.create_assembly("demo", "llama@v1", policy="full")
    first, second = published.start_agents(2, "demo")
    # It gets nothing: one is enough.
    published.create_assembly("spare", "llama@v1", policy="balanced")
    published.start_agent("s1", "spare")
    published.wait_ready("spare")
    spare = published.start_agent("s2", "spare")
    await_line(spare, "joined")
    published.wait_ready("demo")

    for assembly in ("demo", "spare"):
        published.muster("assemblies", "delete", assembly, "--force")
    for agent in (first, second, spare):
        assert "ASSEMBLY_UNKNOWN" in await_line(agent, "join_failed")
    always(lambda: len(lines_with(first, "join_failed")) == 1, "it is told once", 2)
    published.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    published.create_assembly("spare", "llama@v1", policy="balanced", min_nodes=2)

    published.wait_ready("demo")
    published.wait_ready("spare")
    for agent in (first, second):
        assert len(lines_with(agent, "registered")) == 1
        assert len(lines_with(agent, "joined")) == 2
    assert published.muster("assemblies", "delete", "demo", "--force").code == 0


def test_membership_that_somebody_ended_stays_ended(published):
    published.create_assembly("demo", "llama@v1", policy="full")
    agent = published.start_agent("n1", "demo")
    published.wait_ready("demo")

    published.muster("assemblies", "leave", "demo", "--node", "n1")

    await_line(agent, "assigned", f"unassigned={SHARDS}")
    api = published.api()
    always(lambda: api.assembly("demo").nodes_joined == 0, "it does not come back by itself", 3)
    assert agent.running()


@pytest.mark.parametrize("pins", ["kept", "lost"])
def test_agent_beside_a_full_disk_is_ready_with_what_its_cache_holds(published, small_disk, pins):
    disk = small_disk("disk", 256)
    published.create_assembly("demo", "llama@v1", policy="full")
    agent = published.start_agent("n1", "demo", cache=disk / "cache")
    published.wait_ready("demo")
    agent.terminate()
    held = set(entries(disk / "cache"))
    if pins == "lost":
        for pin in (disk / "cache").rglob("pins/*"):
            pin.unlink()
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(1 << 16)):
                pass
        except OSError:
            pass

    agent = published.start_agent("n1", "demo", cache=disk / "cache", name="agent-again")
    await_line(agent, "ready")
    published.wait_ready("demo")

    assert set(entries(disk / "cache")) == held
    warned = lines_with(agent, "pin_failed")
    assert len(warned) == (1 if pins == "lost" else 0), warned
    assert "state=failed" not in agent.output()
    # With room again the pins are written by and by.
    (disk / "filler").unlink()
    published.create_assembly("other", "llama@v1", policy="full")
    second = published.start_agent("n2", "other", cache=disk / "cache")
    await_line(second, "ready")


def hidden(directory):
    return [path for path in pathlib.Path(directory).iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("command, where", [("pull", "out"), ("assemble", "")])
def test_what_killed_commands_left_is_removed_by_the_next_one(published, tmp_path, command, where):
    home = tmp_path / "home"
    home.mkdir()
    words = [command, "llama@v1", "--out", home / "out"]
    watched = home / where
    for i in range(3):
        slow = published.spawn_muster(f"killed-{i}", *words, "--max-rate", "256KiB")
        eventually(lambda: watched.exists() and hidden(watched), "it has begun")
        slow.kill()
        assert len(hidden(watched)) <= 2, "no more than of the last one"
    assert hidden(watched)
    running = published.spawn_muster("running", command, "llama@v1", "--out", home / "other", "--max-rate", "256KiB")
    other = home / ("other" if where else "")
    eventually(lambda: other.exists() and [path for path in hidden(other) if where or "other" in path.name], "it runs")

    published.muster(*words)

    assert running.running()
    assert [path for path in hidden(home) if "other" not in path.name] == []
    assert hidden(home / "out") == []
    assert [path for path in hidden(other) if where or "other" in path.name], "of one that runs nothing is taken"
    running.signal(signal.SIGTERM)
    running.wait(20)


def tasks(process):
    return len(os.listdir(f"/proc/{process.pid}/task"))


def test_idle_agent_has_few_threads(published):
    published.create_assembly("demo", "llama@v1", policy="full")
    agent = published.start_agent("n1", "demo")
    published.wait_ready("demo")

    eventually(lambda: tasks(agent) <= 40, f"an idle agent has few threads, not {tasks(agent)}", 40)


def test_lack_of_threads_ends_with_a_sentence(cluster):
    if os.geteuid() != 0:
        cannot_run("a limit of processes binds no one but another user, which takes root to become")
    # Where another user finds it.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        program = shutil.copy(binary("muster"), directory)
        words = ["agent", "--node", "n1", "--assembly", "demo", "--cache", "/proc/none", "--server", "127.0.0.1:1"]
        limited = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", "--nproc=1"]
        agent = cluster.spawn("limited", [*limited, program, *words])
        code = agent.wait(20)

    assert code == 1, agent.output()
    assert "no thread is to be had" in agent.output() and "pids.max" in agent.output()


def soft_limit(process):
    lines = pathlib.Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max open files")).split()[3]


def test_commands_may_open_as_many_files_as_the_hard_limit_allows(published):
    published.create_assembly("demo", "llama@v1", policy="full")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        agent = published.start_agent("n1", "demo")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    await_line(agent, "ready")

    assert int(soft_limit(agent)) == min(hard, 65536)
