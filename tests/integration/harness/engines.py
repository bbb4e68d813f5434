"""Opens model directories the way that serving engines do."""

import json
import pathlib

from harness import checkpoints


def open_component(directory):
    """All tensors of a folder, found the way that transformers finds them: by the index, or in the only file."""
    directory = pathlib.Path(directory)
    indexes = list(directory.glob("*.safetensors.index.json"))
    files = sorted(directory.glob("*.safetensors"))
    found = {}
    for path in files:
        found.update(checkpoints.open_with_safetensors(path))
    if len(files) > 1:
        assert len(indexes) == 1, f"{directory} has {len(files)} files and the indexes {indexes}"
        weight_map = json.loads(indexes[0].read_text())["weight_map"]
        assert set(weight_map) == set(found)
        for name, file in weight_map.items():
            assert name in checkpoints.open_with_safetensors(directory / file)
    return found


def expect_assembled(out, components):
    for folder, tensors in components.items():
        assert open_component(pathlib.Path(out) / folder) == checkpoints.as_dict(tensors), folder
    published = {str(pathlib.Path(folder)) for folder in components}
    folders = {str(path.parent.relative_to(out)) for path in pathlib.Path(out).rglob("*.safetensors")}
    assert folders == published


def open_as_transformers(directory, index):
    """All tensors of a sharded checkpoint: transformers itself reads the index and finds the files."""
    from transformers.utils.hub import get_checkpoint_shard_files  # Takes seconds to import.

    files, metadata = get_checkpoint_shard_files(str(directory), str(index))
    found = {}
    for file in files:
        found.update(checkpoints.open_with_safetensors(file))
    assert set(metadata["all_checkpoint_keys"]) == set(found)
    return found
