"""What `--json` prints is what docs/json.md shows: each field is there, and of that kind."""

import json
import pathlib
import re

import pytest
from harness import checkpoints
from harness.cluster import Cluster
from harness.conditions import eventually

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "json.md"
EXAMPLE = re.compile(r"^## `muster (?P<command>[^`]+)`\n\n```json\n(?P<value>.*?)^```$", re.MULTILINE | re.DOTALL)


def examples():
    return [(match["command"], json.loads(match["value"])) for match in EXAMPLE.finditer(PAGE.read_text(encoding="utf-8"))]


def differences(shown, real, where="$"):
    """What the page says and the output does not have. An empty object or list stands for any; one of objects is not empty."""
    if isinstance(shown, dict) and isinstance(real, dict):
        for key, value in shown.items():
            if key not in real:
                yield f"{where} has no {key}: {real}"
            else:
                yield from differences(value, real[key], f"{where}.{key}")
    elif isinstance(shown, list) and isinstance(real, list):
        if shown and isinstance(shown[0], dict) and not real:
            yield f"{where} is empty"
        for index, one in enumerate(real if shown else []):
            yield from differences(shown[0], one, f"{where}[{index}]")
    elif type(shown) is not type(real):
        yield f"{where} is {real!r}, shown as {shown!r}"


@pytest.fixture(name="loaded", scope="module")
def load(tmp_path_factory):
    """A cluster with what the page's commands name."""
    directory = tmp_path_factory.mktemp("json")
    source = checkpoints.write_safetensors(directory / "m.safetensors", checkpoints.transformer(seed=1))
    cluster = Cluster(directory / "cluster")
    try:
        cluster.start_server()
        cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=2)
        cluster.create_assembly("demo", "llama@v1", policy="full")
        cluster.start_agent("n1", "demo", "--view", directory / "view", "--ready-when", "node", cache=directory / "cache")
        cluster.wait_ready("demo")
        eventually((directory / "view").exists, "the view is made")
        yield cluster, directory
    finally:
        cluster.close()


@pytest.mark.parametrize(("command", "shown"), examples(), ids=[command for command, _ in examples()])
def test_page_shows_what_is_printed(loaded, command, shown):
    cluster, directory = loaded
    words = [word.replace("/srv/", f"{directory}/") for word in command.split()]

    real = cluster.muster(*words, "--json").json()

    assert list(differences(shown, real)) == []


def test_every_list_calls_its_items_items():
    for command, shown in examples():
        if " list" in f" {command}":
            assert isinstance(shown.get("items"), list), command
    assert len(examples()) > 15


def test_differences_are_found():
    assert not list(differences({"a": 1, "b": [], "c": {}}, {"a": 2, "b": [1], "c": {"d": 1}, "e": 1}))
    for real in ({}, {"a": "1"}, {"a": True}, {"a": None}, {"a": 1.5}):
        assert len(list(differences({"a": 1}, real))) == 1, real
    assert len(list(differences([{"a": 1}], [{"a": 1}, {}]))) == 1
    assert len(list(differences([{"a": 1}], []))) == 1
