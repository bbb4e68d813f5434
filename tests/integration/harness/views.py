"""Views as engines see them, and what agents say of them; and the two versions of a model that the tests of views publish."""

import json
import os
import pathlib

from harness import checkpoints
from harness.conditions import eventually


def write_versions(directory):
    """Two versions of one model: the same names, other bytes, and companions that tell which one it is."""
    sources = []
    for version in ("v1", "v2"):
        source = checkpoints.write_hugging_face(directory / version, checkpoints.transformer(seed=int(version[1])))
        (source / "config.json").write_text(json.dumps({"version": version}))
        sources.append(source)
    return sources


def publish_versions(cluster, sources, shards):
    """llama@v1 for assembly demo1 and llama@v2 for demo2."""
    for version, source in enumerate(sources, 1):
        cluster.publish(source, f"llama@v{version}", "--piece-size", "1MiB", shards=shards)
        cluster.create_assembly(f"demo{version}", f"llama@v{version}", policy="full")


def version_in(directory):
    """Which of the versions a directory is, as an engine that opens it sees: every file is of that one."""
    directory = pathlib.Path(os.path.realpath(directory))
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    found = {}
    for file in sorted(set(index["weight_map"].values())):
        found.update(checkpoints.open_with_safetensors(directory / file))
    assert set(found) == set(index["weight_map"])
    version = json.loads((directory / "config.json").read_text())["version"]
    assert found == checkpoints.as_dict(checkpoints.transformer(seed=int(version[1]))), f"not wholly {version}"
    return version


def await_view(view, version="v1"):
    eventually(lambda: view.exists() and version_in(view) == version, f"the view leads to {version}")


def lines_with(agent, event):
    return [line for line in agent.output().splitlines() if f"event={event} " in line]


def await_line(agent, event, text=""):
    def line():
        return next((line for line in lines_with(agent, event) if text in line), None)

    return eventually(line, f"the agent says {event} {text}")
