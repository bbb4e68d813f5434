"""Acts that others feel: who uses it is said, a person is asked, a program is refused."""

import json

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
