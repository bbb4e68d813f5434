"""Views: directories that an unchanged serving engine opens, upgraded, rolled back, crashed and out of space."""

import json
import mmap
import os
import pathlib
import random
import re
import threading
import time

import pytest
from harness import checkpoints
from harness.api import DEGRADED, READY
from harness.caches import entries
from harness.conditions import always, eventually
from harness.views import await_line, await_view, lines_with, publish_versions, version_in, write_versions

SHARDS = 4


@pytest.fixture(name="sources", scope="module")
def make_sources(tmp_path_factory):
    return write_versions(tmp_path_factory.mktemp("sources"))


@pytest.fixture(name="published")
def publish(cluster, sources):
    publish_versions(cluster, sources, SHARDS)
    return cluster


def pins(cluster, cache):
    found = cluster.muster("cache", "pins", "--cache", cache, "--json").json()["items"]
    return {pin["owner"]: len(pin["keys"]) for pin in found}


def versions_of(cluster, view):
    listed = cluster.muster("view", "list", view, "--json").json()
    return listed["current"], {one["version"]: one["state"] for one in listed["items"]}


def protection_of(cluster, view):
    return [one["protection"] for one in cluster.muster("view", "list", view, "--json").json()["items"]]


@pytest.mark.parametrize("links", ["hard", "symlink", "copy"])
def test_view_holds_the_model_and_outlives_its_agent(published, sources, tmp_path, links):
    view, cache = tmp_path / "view", tmp_path / "cache"
    agent = published.start_agent("n1", "demo1", "--view", view, "--view-links", links, "--on-stop", "leave", cache=cache)
    await_view(view)

    assert os.readlink(view) == "view.d/llama@v1"
    assert checkpoints.open_directory(view) == checkpoints.open_directory(sources[0])
    assert checkpoints.companions(view) == checkpoints.companions(sources[0])
    files = [path for path in (tmp_path / "view.d" / "llama@v1").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}
    shards = sorted(tmp_path.glob("view.d/llama@v1/model-0000?-of-00004.safetensors"))
    assert len(shards) == SHARDS
    is_entry = {path.stat().st_ino for path in shards} == {path.stat().st_ino for path in entries(cache)}
    assert is_entry == (links != "copy")
    assert {path.is_symlink() for path in shards} == {links == "symlink"}

    # The agent leaves its assembly and ends; what the view needs stays, and a copy needs nothing.
    agent.terminate()
    owner = f"view:{tmp_path}/view.d/llama@v1"
    assert pins(published, cache) == ({} if links == "copy" else {owner: SHARDS})
    published.muster("cache", "evict", "--cache", cache, "--to", "0")
    assert len(entries(cache)) == (0 if links == "copy" else SHARDS)
    assert version_in(view) == "v1"

    assert published.muster("view", "remove", view, "--all", "--json").json()["removed"] == ["llama@v1"]
    assert not os.path.lexists(view) and not os.path.lexists(tmp_path / "view.d")
    assert pins(published, cache) == {}
    # Links and their end left the entries verified: nothing is hashed, and so nothing is found to be bad.
    for entry in entries(cache):
        assert (entry.parent / f"{entry.name}.record").read_text().startswith("verified ")


def test_agent_that_comes_back_keeps_its_view(published, tmp_path):
    view, cache = tmp_path / "view", tmp_path / "cache"
    first = published.start_agent("n1", "demo1", "--view", view, cache=cache)
    await_view(view)
    inode = (tmp_path / "view.d" / "llama@v1").stat().st_ino
    first.terminate()

    again = published.start_agent("n1", "demo1", "--view", view, name="again", cache=cache)

    assert "kept=true" in await_line(again, "view")
    assert (tmp_path / "view.d" / "llama@v1").stat().st_ino == inode


class Reader(threading.Thread):
    """Opens a view again and again, as engines do; notes which version it was, and what went wrong."""

    def __init__(self, view):
        super().__init__(daemon=True)
        self.view, self.seen, self.problem, self.ending = view, [], None, threading.Event()

    def run(self):
        while not self.ending.is_set() and self.problem is None:
            try:
                self.seen.append(version_in(self.view))
            except Exception as error:  # pylint: disable=broad-except
                self.problem = error

    def await_next(self, version):
        """The next two reads that begin from now on end with `version`."""
        count = len(self.seen)
        eventually(lambda: self.problem or len(self.seen) >= count + 2, "the reader reads")
        assert self.problem is None, self.problem
        assert self.seen[-1] == version

    def end(self):
        self.ending.set()
        self.join()
        assert self.problem is None, self.problem


def test_upgrade_and_rollback_never_show_a_mix(published, tmp_path):
    view, cache = tmp_path / "view", tmp_path / "cache"
    first = published.start_agent("n1", "demo1", "--view", view, cache=cache)
    await_view(view)
    reader = Reader(view)
    reader.start()
    try:
        reader.await_next("v1")
        # The upgrade: ahead of time, a second assembly on the same node, and the switch that its agent makes.
        published.muster("prefetch", "llama@v2", "--cache", cache)
        second = published.start_agent("n1b", "demo2", "--view", view, cache=cache)
        await_line(second, "view")
        reader.await_next("v2")
        for version in ("v1", "v2", "v1", "v2"):
            published.muster("view", "switch", view, f"llama@{version}")
            reader.await_next(version)

        # A rollback stands, whatever the agent of v2 goes through.
        published.muster("view", "switch", view, "llama@v1")
        second.terminate()
        second = published.start_agent("n1b", "demo2", "--view", view, name="second-again", cache=cache)
        assert "current=false kept=true" in await_line(second, "view")
        reader.await_next("v1")
        published.muster("view", "switch", view, "llama@v2")

        # The first version goes while the second one is open.
        first.terminate()
        published.muster("assemblies", "delete", "demo1", "--force")
        published.muster("view", "remove", view, "llama@v1")
        reader.await_next("v2")
        assert versions_of(published, view) == ("llama@v2", {"llama@v2": "whole"})
    finally:
        reader.end()
    assert set(reader.seen) == {"v1", "v2"}


def test_killed_agents_leave_a_whole_view_or_none(published, tmp_path):
    view, cache = tmp_path / "view", tmp_path / "cache"
    published.muster("prefetch", "llama@v1", "--cache", cache)
    moments = random.Random(5)
    broken_off = 0
    for attempt in range(12):
        agent = published.start_agent("n1", "demo1", "--view", view, name=f"agent-{attempt}", cache=cache)
        await_line(agent, "ready")
        deadline = time.monotonic() + moments.uniform(0, 0.15)
        eventually(lambda until=deadline: time.monotonic() >= until, "the moment of the kill")
        agent.kill()
        broken_off += not view.exists()
        if os.path.lexists(view):
            assert version_in(view) == "v1"
        published.muster("view", "list", view, check=False)
        # What the next one finds is sometimes a view, and sometimes the remains of one.
        if attempt % 3 == 2 and (tmp_path / "view.d" / ".muster-view").exists():
            published.muster("view", "remove", view, "--all")
            assert not (tmp_path / "view.d").exists()
            owners = [owner for owner in pins(published, cache) if owner.startswith("view:")]
            assert owners == []
    print(f"{broken_off} of 12 kills came before the view was there")
    published.start_agent("n1", "demo1", "--view", view, name="last", cache=cache)
    await_view(view)
    eventually(lambda: versions_of(published, view) == ("llama@v1", {"llama@v1": "whole"}), "the view is whole")
    assert sorted(os.listdir(tmp_path / "view.d")) == [".llama@v1.record", ".muster-view", "llama@v1"]


def test_full_cache_never_takes_what_a_view_needs(published, tmp_path):
    view, cache = tmp_path / "view", tmp_path / "cache"
    agent = published.start_agent("n1", "demo1", "--view", view, "--on-stop", "leave", cache=cache)
    await_view(view)
    agent.terminate()
    total = sum(path.stat().st_size for path in entries(cache))

    refused = published.muster(
        "prefetch", "llama@v2", "--cache", cache, "--cache-budget", total + total // 2, check=False
    )  # fmt: skip
    assert refused.code == 1
    assert f"the rest is pinned by view:{tmp_path}/view.d/llama@v1 ({total / 2**20:.1f} MiB)" in refused.text
    assert version_in(view) == "v1"

    published.muster("view", "remove", view, "--all")
    published.muster("prefetch", "llama@v2", "--cache", cache, "--cache-budget", total + total // 2)


def test_node_with_a_part_of_the_model_makes_no_view_unless_asked(cluster, sources, tmp_path):
    cluster.publish(sources[0], "llama@v1", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="contiguous", min_nodes=2)
    plain = cluster.start_agent("n1", "demo", "--view", tmp_path / "plain", "--on-ready", f"touch {tmp_path}/ran")
    partial = cluster.start_agent("n2", "demo", "--view", tmp_path / "partial", "--view-partial")

    line = await_line(plain, "ready_failed", "reason=VIEW_INCOMPLETE")
    assert "again=false" in line and "--view-partial" in line
    assert not os.path.lexists(tmp_path / "plain") and not os.path.lexists(tmp_path / "plain.d")
    assert not (tmp_path / "ran").exists()

    await_line(partial, "view")
    found = checkpoints.open_directory(tmp_path / "partial")
    whole = checkpoints.as_dict(checkpoints.transformer(seed=1))
    assert 0 < len(found) < len(whole)
    assert found.items() <= whole.items()
    assert checkpoints.companions(tmp_path / "partial") == checkpoints.companions(sources[0])
    assert versions_of(cluster, tmp_path / "partial") == ("llama@v1", {"llama@v1": "partial"})


def test_command_runs_once_over_restarts_and_new_plans(published, tmp_path):
    view, cache, ran = tmp_path / "view", tmp_path / "cache", tmp_path / "ran"
    command = f'echo "$MUSTER_MODEL_VERSION $MUSTER_ASSEMBLY $(readlink "$MUSTER_VIEW")" >> {ran}'
    agent = published.start_agent(
        "n1", "demo1", "--view", view, "--on-ready", command, "--scrub-interval", "1s", cache=cache
    )  # fmt: skip
    assert "exit_code=0" in await_line(agent, "on_ready")
    assert ran.read_text() == "llama@v1 demo1 view.d/llama@v1\n"

    published.kill_server()
    published.start_server()
    # A new plan, and a shard that was lost and comes back: the model is READY again.
    published.start_agent("n2", "demo1")
    published.muster("cache", "evict", "--cache", cache, entries(cache)[0].name, "--force")
    eventually(lambda: len(lines_with(agent, "view")) >= 2, "the view is looked at again")
    published.wait_ready("demo1")
    assert version_in(view) == "v1"
    always(lambda: len(ran.read_text().splitlines()) == 1, "the command ran once", seconds=0.5)
    assert {path.stat().st_ino for path in entries(cache)} == {
        path.stat().st_ino for path in (tmp_path / "view.d" / "llama@v1").glob("model-*.safetensors")
    }


def test_command_that_fails_is_told_with_its_code_and_retried_if_asked(published, tmp_path):
    tried = tmp_path / "tried"
    command = f"echo x >> {tried}; exit 42"
    agent = published.start_agent("n1", "demo1", "--on-ready", command, "--on-ready-retries", "1")
    eventually(lambda: len(lines_with(agent, "on_ready")) == 2, "the command was run twice")
    assert all("exit_code=42" in line and " warning " in line for line in lines_with(agent, "on_ready"))
    always(lambda: tried.read_text() == "x\nx\n", "no third attempt", seconds=0.5)
    assert agent.running()


def test_command_that_goes_on_holds_up_nothing_and_outlives_the_agent(published, tmp_path):
    pid_file, gate = tmp_path / "pid", tmp_path / "gate"
    os.mkfifo(gate)
    agent = published.start_agent("n1", "demo1", "--on-ready", f"echo $$ > {pid_file}; read line < {gate}; echo ended > {pid_file}")
    eventually(lambda: pid_file.exists() and pid_file.read_text(), "the command runs")
    published.wait_ready("demo1")
    code, seconds = agent.terminate()
    assert code == 0 and seconds < 5
    assert pathlib.Path(f"/proc/{pid_file.read_text().strip()}").exists(), "the command runs on"
    gate.write_text("go\n")
    eventually(lambda: pid_file.read_text() == "ended\n", "the command ends by itself")


def test_places_that_are_taken_are_refused_before_anything_is_fetched(published, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "plain").touch()
    os.symlink("full", tmp_path / "link")
    (tmp_path / "taken.d").mkdir()
    (tmp_path / "taken.d" / "file").touch()
    for name in ("full", "plain", "link", "taken"):
        agent = published.start_agent("n1", "demo1", "--view", tmp_path / name, name=f"agent-{name}")
        assert agent.wait(10) == 1
        assert "move it away, or name another directory for the view" in agent.output()
    agent = published.start_agent("n1", "demo1", "--view", "/proc", name="agent-mount")
    assert agent.wait(10) == 1
    assert "is a mount point" in agent.output()
    agent = published.start_agent("n1", "demo1", "--view-partial", name="agent-usage")
    assert agent.wait(10) == 2
    assert published.api().nodes.ListNodes().nodes == []
    assert sorted(os.listdir(tmp_path / "full")) == ["file"]


def test_empty_directory_becomes_the_view(published, tmp_path):
    view = tmp_path / "models" / "view"
    view.mkdir(parents=True)
    published.start_agent("n1", "demo1", "--view", view)
    eventually(view.is_symlink, "the directory became a link")
    await_view(view)


def test_full_disk_leaves_nothing_and_the_view_comes_once_there_is_room(published, tmp_path, small_disk):
    disk = small_disk("disk", 8)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (7 << 20))
    agent = published.start_agent("n1", "demo1", "--view", disk / "view", "--view-links", "copy")
    line = await_line(agent, "ready_failed", "reason=NO_SPACE")
    assert "again=true" in line
    assert os.listdir(disk) == ["filler"]
    filler.unlink()
    await_view(disk / "view")


def test_two_agents_may_make_one_view(published, tmp_path):
    view = tmp_path / "view"
    published.create_assembly("both", "llama@v1", policy="full", min_nodes=2)
    agents = [published.start_agent(node, "both", "--view", view, cache=tmp_path / "cache") for node in ("n1", "n2")]
    lines = [await_line(agent, "view") for agent in agents]
    assert sorted(re.search(r"kept=(\w+)", line).group(1) for line in lines) == ["false", "true"]
    assert version_in(view) == "v1"


def test_one_agent_serves_many_assemblies_with_a_view_each(published, tmp_path):
    ran, cache = tmp_path / "ran", tmp_path / "cache"
    words = ["--assembly", "demo2", "--view", tmp_path / "one", "--view", tmp_path / "two"]
    words += ["--on-ready", f"echo $MUSTER_ASSEMBLY $MUSTER_VIEW >> {ran}"]
    agent = published.start_agent("n1", "demo1", *words, cache=cache)
    for assembly in ("demo1", "demo2"):
        published.wait_ready(assembly)
    await_view(tmp_path / "one", "v1")
    await_view(tmp_path / "two", "v2")
    eventually(lambda: len(ran.read_text().splitlines()) == 2, "the command ran for both")
    assert set(ran.read_text().splitlines()) == {f"demo1 {tmp_path}/one", f"demo2 {tmp_path}/two"}
    assert {"assemblies/demo1/nodes/n1", "assemblies/demo2/nodes/n1"} < set(pins(published, cache))

    # One of them ends; the other one goes on.
    published.muster("assemblies", "delete", "demo1", "--force")
    eventually(lambda: "assemblies/demo1/nodes/n1" not in pins(published, cache), "demo1 is let go")
    assert agent.running()
    published.wait_ready("demo2")
    assert (version_in(tmp_path / "one"), version_in(tmp_path / "two")) == ("v1", "v2")

    for words, message in (
        (["--assembly", "demo1"], "appears twice"),
        (["--assembly", "demo2", "--view", tmp_path / "three"], "one --view for each --assembly"),
        (["--assembly", "demo2", "--model", "llama@v1", "--policy", "full"], "describe one assembly"),
    ):
        wrong = published.start_agent("n2", "demo1", *words, name="wrong")
        assert wrong.wait(10) == 2
        assert message in wrong.output()


def test_raw_model_is_the_files_that_it_was_cut_from(cluster, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.gguf").write_bytes(random.Random(3).randbytes(9_000_001))
    cluster.publish(source / "model.gguf", "llama@v1", strategy="raw", shards=3)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    view = tmp_path / "view"
    agent = cluster.start_agent("n1", "demo", "--view", view)
    await_line(agent, "view")
    assert [path.name for path in view.iterdir()] == ["model.gguf"]
    assert checkpoints.md5_file(view / "model.gguf") == checkpoints.md5_file(source / "model.gguf")


def test_commands_say_what_is_there_and_what_is_wrong(published, tmp_path):
    view = tmp_path / "view"
    missing = published.muster("view", "list", view, check=False)
    assert missing.code == 1 and "there is no view" in missing.text
    published.start_agent("n1", "demo1", "--view", view)
    await_view(view)

    table = published.muster("view", "list", view).stdout.splitlines()
    assert re.match(r"CURRENT +VERSION +STATE +LINKS +PROTECTION +FILES +SIZE +CACHE", table[0])
    assert re.match(r"\* +llama@v1 +whole +hard +(watched|sealed) +8 ", table[1])
    unknown = published.muster("view", "switch", view, "llama@v7", check=False)
    assert unknown.code == 1 and "has no version" in unknown.text
    current = published.muster("view", "remove", view, "llama@v1", "--json", check=False)
    assert current.code == 1 and json.loads(current.stderr)["reason"] == "VIEW_VERSION_CURRENT"
    assert published.muster("view", "remove", view, check=False).code == 2
    assert version_in(view) == "v1"
    (tmp_path / "view.d" / "llama@v1" / "config.json").unlink()
    assert versions_of(published, view) == ("llama@v1", {"llama@v1": "broken"})
    published.muster("view", "remove", view, "llama@v1", "--force")
    assert not os.path.lexists(view)


def open_to_write(path):
    """As a program that runs as root does, whatever the file's mode is."""
    if os.geteuid() != 0:
        os.chmod(path, 0o644)
    return open(path, "r+b")


def test_program_that_writes_through_a_view_is_noticed(published, tmp_path):
    view, cache = tmp_path / "view", tmp_path / "cache"
    agent = published.start_agent("n1", "demo1", "--view", view, "--watch-interval", "200ms", cache=cache)
    await_view(view)
    assert protection_of(published, view) in (["watched"], ["sealed"])
    watch = published.api().assemblies.WatchAssembly(name="assemblies/demo1", timeout=60)
    assert next(watch).assembly.state == READY
    path = view / "model-00001-of-00004.safetensors"
    good = path.read_bytes()
    try:
        file = open_to_write(path)
    except PermissionError:
        assert protection_of(published, view) == ["sealed"]
        return

    # As long as the shard can't be fetched again the barrier is down.
    store = pathlib.Path(published.store)
    away = store.rename(store.with_suffix(".away"))
    with file, mmap.mmap(file.fileno(), 0) as memory:
        memory[len(good) - 1] ^= 1
        next(message for message in watch if message.assembly.state == DEGRADED)
        away.rename(store)
        # It is fetched again, into another file, while the program still has this one.
        next(message for message in watch if message.assembly.state == READY)
        eventually(lambda: path.read_bytes() == good, "the view shows the good bytes again")

    assert "a program has it open for writing" in agent.output()
    assert published.muster("cache", "verify", "--cache", cache, "--json").json()["good"] == SHARDS


def test_program_that_writes_to_a_reflinked_view_does_no_harm_to_the_cache(published, sharing_disk, tmp_path):
    disk = sharing_disk("disk")
    view, cache = disk / "view", disk / "cache"
    published.start_agent("n1", "demo1", "--view", view, "--view-links", "reflink", cache=cache)
    await_view(view)
    assert protection_of(published, view) == ["own"]
    path = view / "model-00001-of-00004.safetensors"
    good = path.read_bytes()

    with open_to_write(path) as file:
        file.seek(len(good) - 1)
        file.write(bytes([good[-1] ^ 1]))

    assert published.muster("cache", "verify", "--cache", cache, "--json").json()["good"] == SHARDS
    assert published.api().is_ready("demo1")


def test_reflinks_that_the_file_system_does_not_have_are_refused(published, small_disk, tmp_path):
    disk = small_disk("disk", 64)
    view = disk / "view"
    agent = published.start_agent(
        "n1", "demo1", "--view", view, "--view-links", "reflink", cache=disk / "cache"
    )

    eventually(lambda: "VIEW_LINKS_IMPOSSIBLE" in agent.output(), "the agent says why there is no view")
    assert not view.exists()
