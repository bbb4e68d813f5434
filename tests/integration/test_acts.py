"""Acts that others feel: who uses it is said, a person is asked, a program is refused. And how stored copies are mended."""

import json
import os
import pathlib
import shutil

import pytest
from harness import checkpoints
from harness.api import ApiError
from harness.dialogue import CTRL_C, Dialogue


@pytest.fixture(name="used")
def make_used(cluster, tmp_path):
    """Assembly demo, READY on the live nodes n1 and n2."""
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=2))
    cluster.publish(source, "llama@v1")
    cluster.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    return cluster


def ask(cluster, *words):
    return Dialogue(cluster.muster_command(*words))


def test_assembly_in_use_is_deleted_by_nobody_who_was_not_told(used):
    refused = used.muster("assemblies", "delete", "demo", check=False)
    as_json = used.muster("assemblies", "delete", "demo", "--json", check=False)

    assert refused.code == 1
    for words in ("llama@v1", "READY", "2 live nodes", "n1, n2", "muster assemblies delete demo --force"):
        assert words in refused.stderr, str(refused)
    error = json.loads(as_json.stderr)
    assert (error["reason"], error["metadata"]["nodes"]) == ("ASSEMBLY_IN_USE", "n1,n2"), str(as_json)
    used.wait_ready("demo")

    used.muster("assemblies", "delete", "demo", "--force")
    with pytest.raises(ApiError):
        used.api().assembly("demo")


def test_person_is_asked_before_an_assembly_in_use_is_deleted(used):
    for answer, outcome in (("n\n", "nothing was changed"), ("\n", "nothing was changed"), (CTRL_C, "nothing was changed")):
        asked = ask(used, "assemblies", "delete", "demo")
        asked.await_words("[y/N]")
        asked.type(answer)
        code, stdout = asked.end()
        assert (code, stdout) == (130 if answer == CTRL_C else 1, ""), asked.said
        assert "2 live nodes: n1, n2" in asked.said and outcome in asked.said
    used.wait_ready("demo")

    asked = ask(used, "assemblies", "delete", "demo")
    asked.await_words("[y/N]")
    asked.type("y\n")
    assert asked.end() == (0, "deleted assembly demo\n"), asked.said


def test_assembly_that_no_live_node_uses_is_deleted_without_a_word(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))
    cluster.publish(source, "llama@v1")
    cluster.create_assembly("demo", "llama@v1", policy="full")

    deleted = ask(cluster, "assemblies", "delete", "demo")

    assert deleted.end() == (0, "deleted assembly demo\n"), deleted.said
    assert "[y/N]" not in deleted.said


def test_live_node_is_removed_by_nobody_who_was_not_told(used):
    refused = used.muster("nodes", "deregister", "n1", check=False)
    as_json = used.muster("nodes", "deregister", "n1", "--json", check=False)
    asked = ask(used, "nodes", "deregister", "n1")
    asked.await_words("[y/N]")
    asked.type("no\n")

    assert refused.code == 1
    for words in ("n1 is live", "demo (llama@v1, READY)", "registers it again", "muster nodes deregister n1 --force"):
        assert words in refused.stderr, str(refused)
    assert json.loads(as_json.stderr)["reason"] == "NODE_IN_USE"
    assert asked.end()[0] == 1 and "nothing was changed" in asked.said
    used.wait_ready("demo")
    used.muster("nodes", "deregister", "n1", "--dry-run")
    assert used.muster("nodes", "deregister", "n2", "--force").stdout == "deregistered n2\n"


# --- what is not there


def test_deleting_what_is_not_there_does_not_say_create_it(cluster):
    refused = cluster.muster("assemblies", "delete", "nope", check=False)

    assert refused.code == 1
    assert "there is no assemblies/nope" in refused.stderr and "create" not in refused.stderr


def test_events_of_what_never_was_are_an_error_and_of_what_was_are_not(cluster, tmp_path):
    for words in (("--assembly", "nope"), ("--node", "nope"), ("--model", "nope@v1")):
        refused = cluster.muster("events", *words, check=False)
        assert refused.code == 1 and "nope" in refused.stderr, str(refused)
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))
    cluster.publish(source, "llama@v1")
    cluster.create_assembly("demo", "llama@v1", policy="full")
    cluster.muster("assemblies", "delete", "demo")

    assert "demo" in cluster.muster("events", "--assembly", "demo").stdout


# --- stored copies


@pytest.fixture(name="damaged")
def make_damaged(cluster, tmp_path):
    """llama@v1 with a bad copy of shard 1, and none of shard 2."""
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=2))
    cluster.publish(source, "llama@v1", shards=4)
    paths = [shard.locations[0].uri.removeprefix("file://") for shard in cluster.api().shards("llama", "v1")]
    backup = tmp_path / "backup"
    backup.mkdir()
    for index, path in enumerate(paths):
        shutil.copy(path, backup / f"{index}.safetensors")
    content = bytearray(pathlib.Path(paths[1]).read_bytes())
    content[len(content) // 2] ^= 1
    os.chmod(paths[1], 0o644)
    pathlib.Path(paths[1]).write_bytes(content)
    os.unlink(paths[2])
    return source, backup, paths


def test_verify_says_how_to_repair_and_that_is_possible(cluster, damaged, tmp_path):
    source, _, paths = damaged
    verified = cluster.muster("verify", "llama@v1", check=False)
    assert verified.code == 1 and "muster shards repair llama@v1" in verified.stderr

    helpless = cluster.muster("shards", "repair", "llama@v1", "1", check=False)
    assert helpless.code == 1 and "--from" in helpless.stderr
    wrong = checkpoints.write_safetensors(tmp_path / "wrong.safetensors", checkpoints.transformer(layers=2, seed=9))
    refused = cluster.muster("shards", "repair", "llama@v1", "1", "--from", wrong, "--json", check=False)
    assert json.loads(refused.stderr)["reason"] == "SHARD_DIFFERS"
    assert [shard.locations[0].uri for shard in cluster.api().shards("llama", "v1")] == [f"file://{path}" for path in paths]

    repaired = cluster.muster("shards", "repair", "llama@v1", "--from", source)

    assert "repaired 2 shards of llama@v1" in repaired.stdout
    assert "all good" in cluster.muster("verify", "llama@v1").stdout
    assert "nothing to repair" in cluster.muster("shards", "repair", "llama@v1").stdout
    for index, shard in enumerate(cluster.api().shards("llama", "v1")):
        uris = [location.uri for location in shard.locations]
        assert (uris == [f"file://{paths[index]}"]) == (index not in (1, 2)), uris
    cluster.muster("models", "delete", "llama@v1", "--with-objects")
    assert not [path for path in cluster.store.rglob("*") if path.is_file()], "the new copies are the version's own"


def test_locations_are_added_when_they_are_right_and_removed_by_hand(cluster, damaged):
    source, backup, paths = damaged
    refused = cluster.muster("shards", "add-location", "llama@v1", 1, backup / "0.safetensors", check=False)
    assert refused.code == 1 and "0.safetensors" in refused.stderr
    last = cluster.muster("shards", "remove-location", "llama@v1", 1, paths[1], "--json", check=False)
    assert json.loads(last.stderr)["reason"] == "LAST_LOCATION"

    for index in (1, 2):
        cluster.muster("shards", "add-location", "llama@v1", index, backup / f"{index}.safetensors", "--priority", 1)
        cluster.muster("shards", "remove-location", "llama@v1", index, paths[index])

    assert "all good" in cluster.muster("verify", "llama@v1").stdout
    # A good copy is enough of a source.
    cluster.muster("shards", "add-location", "llama@v1", 2, paths[2], "--unchecked")
    assert f"copied from file://{backup}/2.safetensors" in cluster.muster("shards", "repair", "llama@v1", "2").stdout
    assert "all good" in cluster.muster("verify", "llama@v1").stdout
