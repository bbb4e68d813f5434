"""A node that starts while musterd is away: it serves what it last knew, verified, and joins once the server is back."""

import os
import shutil

import pytest
from harness import checkpoints
from harness.caches import entries
from harness.conditions import always, eventually
from harness.views import await_line, await_view, lines_with, publish_versions, version_in, write_versions

SHARDS = 4
UNREACHABLE_EXIT_CODE = 4


@pytest.fixture(name="sources", scope="module")
def make_sources(tmp_path_factory):
    return write_versions(tmp_path_factory.mktemp("sources"))


@pytest.fixture(name="published")
def publish(cluster, sources):
    publish_versions(cluster, sources, SHARDS)
    return cluster


def start(cluster, tmp_path, *args, name="agent", assembly="demo1"):
    command = f'echo "$MUSTER_MODEL_VERSION offline=$MUSTER_OFFLINE" >> {tmp_path}/{name}.runs'
    return cluster.start_agent(
        "n1", assembly, "--view", tmp_path / "view", "--on-ready", command, *args, name=name, cache=tmp_path / "cache"
    )


def runs(tmp_path, name="agent"):
    path = tmp_path / f"{name}.runs"
    return path.read_text().splitlines() if path.exists() else []


def note_of(tmp_path, assembly="demo1"):
    return tmp_path / "cache" / ".nodes" / "n1" / "assemblies" / assembly


def leave_a_note(cluster, tmp_path, **kwargs):
    """An agent was READY, and the server and then the agent are killed."""
    agent = start(cluster, tmp_path, name="before", **kwargs)
    await_view(tmp_path / "view")
    assembly = kwargs.get("assembly", "demo1")
    eventually(note_of(tmp_path, assembly).exists, "it is noted")
    cluster.kill_server()
    agent.kill()
    return agent


@pytest.mark.parametrize("view", ["kept", "lost"])
def test_restart_without_a_server_serves_what_was_known(published, tmp_path, view):
    leave_a_note(published, tmp_path)
    if view == "lost":
        os.unlink(tmp_path / "view")
        shutil.rmtree(tmp_path / "view.d")

    agent = start(published, tmp_path)

    await_line(agent, "offline", 'model_version="llama@v1" shards=4')
    assert "offline=true" in await_line(agent, "view", f"kept={'true' if view == 'kept' else 'false'}")
    assert version_in(tmp_path / "view") == "v1"
    await_line(agent, "on_ready", "exit_code=0 offline=true")
    assert runs(tmp_path) == ["llama@v1 offline=1"]
    always(agent.running, "it goes on trying", 2)

    published.start_server()

    # READY for the server by a registration, a join and reports of its own; the command has run already.
    await_line(agent, "registered")
    published.wait_ready("demo1")
    await_line(agent, "ready")
    eventually(lambda: len(lines_with(agent, "view")) == 2, "the server's word counts again")
    assert "kept=true" in lines_with(agent, "view")[1] and "offline" not in lines_with(agent, "view")[1]
    always(lambda: runs(tmp_path) == ["llama@v1 offline=1"], "the command runs once", 1)
    assert all("from_cache=true" in line for line in lines_with(agent, "shard"))


def test_bytes_that_nothing_vouches_for_are_not_served(published, tmp_path):
    leave_a_note(published, tmp_path)
    os.unlink(tmp_path / "view")
    shutil.rmtree(tmp_path / "view.d")
    entry = entries(tmp_path / "cache")[0]
    entry.chmod(0o600)
    with open(entry, "r+b") as file:
        file.seek(entry.stat().st_size // 2)
        file.write(b"rot")

    agent = start(published, tmp_path)

    line = await_line(agent, "ready_failed", "VIEW_INCOMPLETE")
    assert "1 of the 4 shards" in line
    assert not (tmp_path / "view").exists() and not runs(tmp_path)
    assert agent.running()

    published.start_server()
    published.wait_ready("demo1")
    await_view(tmp_path / "view")
    eventually(lambda: runs(tmp_path) == ["llama@v1 offline="], "the command runs with the server")


def test_damaged_note_is_a_warning(published, tmp_path):
    leave_a_note(published, tmp_path)
    note = note_of(tmp_path)
    note.write_bytes(note.read_bytes()[:-5])

    agent = start(published, tmp_path, "--timeout", "3s")

    assert "counts for nothing" in await_line(agent, "warning")
    assert agent.wait(30) == UNREACHABLE_EXIT_CODE
    assert not lines_with(agent, "offline")


def test_nothing_known_ends_as_ever(cluster, tmp_path):
    agent = start(cluster, tmp_path, "--timeout", "3s")
    cluster.kill_server()
    agent.kill()
    agent = start(cluster, tmp_path, "--timeout", "3s")
    assert agent.wait(30) == UNREACHABLE_EXIT_CODE


def test_server_has_the_say_once_it_is_back(published, tmp_path):
    """The assembly was deleted: the node is in none, and the next life without a server serves nothing."""
    agent = start(published, tmp_path, name="before")
    await_view(tmp_path / "view")
    eventually(note_of(tmp_path).exists, "it is noted")
    agent.kill()
    published.api().assemblies.DeleteAssembly(name="assemblies/demo1")
    published.kill_server()
    agent = start(published, tmp_path)
    await_line(agent, "offline")

    published.start_server()

    assert "ASSEMBLY_UNKNOWN" in await_line(agent, "join_failed")
    assert not lines_with(agent, "ready")
    assert agent.running()
    eventually(lambda: not note_of(tmp_path).exists(), "it is forgotten")


def test_another_model_for_the_same_assembly_is_not_served_by_an_old_note(published, tmp_path):
    leave_a_note(published, tmp_path)

    agent = start(published, tmp_path, "--model", "llama@v2", "--policy", "full", "--timeout", "3s")

    assert agent.wait(30) == UNREACHABLE_EXIT_CODE
    assert not lines_with(agent, "offline")


def test_view_is_made_by_hand_without_a_server(published, tmp_path):
    leave_a_note(published, tmp_path)
    view, cache = tmp_path / "byhand", tmp_path / "cache"

    made = published.muster("view", "create", view, "llama@v1", "--cache", cache, "--json").json()

    assert made["current"] and not made["kept"] and made["links"] == "hard"
    assert version_in(view) == "v1"
    assert checkpoints.companions(view)
    again = published.muster("view", "create", view, "llama@v1", "--cache", cache)
    assert "kept" in again.text
    unknown = published.muster("view", "create", view, "llama@v9", "--cache", cache, check=False)
    assert unknown.code == 1 and "only llama@v1" in unknown.text


def test_part_of_a_model_is_served_as_the_assembly_was(published, tmp_path):
    published.create_assembly("split", "llama@v1", policy="balanced")
    leave_a_note(published, tmp_path, assembly="split")

    agent = start(published, tmp_path, assembly="split")

    await_line(agent, "offline")
    await_line(agent, "on_ready", "offline=true")
    assert version_in(tmp_path / "view") == "v1"


def companions_of(view):
    """The model's small files, but for the index, which a view makes itself."""
    files = [path for path in view.resolve().rglob("*") if path.is_file() and ".safetensors" not in path.name]
    return {str(path.relative_to(view.resolve())): path.read_bytes() for path in files}


def await_kept(tmp_path):
    contents = {content for content in companions_of(tmp_path / "view").values() if content}
    eventually(lambda: len(kept_companions(tmp_path)) == len(contents), "the small files are kept")


def lose_view_and_storage(cluster, tmp_path):
    """Returns the small files of the view that was there."""
    files = companions_of(tmp_path / "view")
    assert "config.json" in files
    os.unlink(tmp_path / "view")
    shutil.rmtree(tmp_path / "view.d")
    shutil.rmtree(cluster.store)
    return files


def kept_companions(tmp_path):
    folder = tmp_path / "cache" / ".nodes" / "n1" / "companions"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_view_is_made_whole_without_server_and_storage(published, tmp_path):
    agent = start(published, tmp_path, name="before")
    await_view(tmp_path / "view")
    await_kept(tmp_path)
    published.kill_server()
    agent.kill()
    files = lose_view_and_storage(published, tmp_path)

    agent = start(published, tmp_path)

    assert "kept=false" in await_line(agent, "view", "offline=true")
    assert companions_of(tmp_path / "view") == files
    # By hand, too.
    published.muster("view", "create", tmp_path / "other", "llama@v1", "--cache", tmp_path / "cache")
    assert companions_of(tmp_path / "other") == files


def test_kept_file_that_was_changed_is_not_shown(published, tmp_path):
    agent = start(published, tmp_path, name="before")
    await_view(tmp_path / "view")
    await_kept(tmp_path)
    published.kill_server()
    agent.kill()
    lose_view_and_storage(published, tmp_path)
    for path in kept_companions(tmp_path):
        path.write_bytes(b"x" * path.stat().st_size)

    agent = start(published, tmp_path)

    await_line(agent, "ready_failed")
    assert not (tmp_path / "view").exists()


def test_kept_files_go_with_what_needs_them(published, tmp_path):
    first = start(published, tmp_path, name="first")
    await_view(tmp_path / "view")
    await_kept(tmp_path)
    before = kept_companions(tmp_path)
    first.terminate()
    published.api().assemblies.DeleteAssembly(name="assemblies/demo1")
    stray = before[0].with_name("0" * 32)
    stray.write_bytes(b"of an older version")

    start(published, tmp_path, name="second", assembly="demo2")

    eventually(lambda: not stray.exists(), "what no note names is removed")
    assert kept_companions(tmp_path)
