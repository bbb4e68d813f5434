"""PyTorch files as checkpoint input: written by the real torch, published, assembled, and compared with what torch loads."""

import json
import pathlib
import struct
import subprocess

import pytest
from harness import checkpoints
from harness.conditions import cannot_run, eventually

WRITER = pathlib.Path(__file__).parent / "harness" / "torch_writer.py"
DEBIAN_PYTHON = "/usr/bin/python3"
FILES = ("dtypes.pt", "strides.pth", "module.bin", "parameters.pt", "nested.pt")
# What an error about each has to name.
REFUSED = {
    "os_system": "posix.system", "eval": "__builtin__.eval", "getattr": "__builtin__.getattr", "whole_module": "__main__.Net",
    "numpy": "numpy.core.multiarray.scalar", "list": "holds a list", "two_models": "several of its dicts",
    "unknown_key": "\"net\" (a dict with tensors)", "quantised": "a quantised tensor", "sparse": "a sparse tensor",
    "legacy": "torch before 1.6", "script": "TorchScript", "complex128": "torch.ComplexDoubleStorage",
}  # fmt: skip


@pytest.fixture(name="torch_files", scope="module")
def write_torch_files(tmp_path_factory):
    """What torch_writer.py makes, and what it expects to be found."""
    found = subprocess.run([DEBIAN_PYTHON, "-c", "import torch"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        cannot_run(f"{DEBIAN_PYTHON} has no torch (tests/packages-torch.txt): {found.stderr[-300:]}")
    directory = tmp_path_factory.mktemp("torch")
    subprocess.run([DEBIAN_PYTHON, str(WRITER), str(directory)], check=True, timeout=100)
    return directory


def expected_of(torch_files, name):
    """As checkpoints.open_with_safetensors gives it."""
    expected = json.loads((torch_files / "expected.json").read_text())[name]
    return {key: (dtype, tuple(shape), digest) for key, (dtype, shape, digest) in expected.items()}


def tied_names(store):
    """From the metadata of the stored shards: name -> the name that holds its tensor, and in how many shards that is said."""
    names, count = {}, 0
    for path in store.rglob("*.safetensors"):
        for key, value in checkpoints.metadata_of(path).items():
            if key.startswith("muster.tied."):
                names[key.removeprefix("muster.tied.")] = value
                count += 1
                assert value in checkpoints.open_with_safetensors(path)
    return names, count


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_is_as_torch_loads_it(cluster, torch_files, tmp_path, name):
    cluster.publish(torch_files / name, "m@v1", shards=3)

    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")

    assert checkpoints.open_directory(tmp_path / "out") == expected_of(torch_files, name)
    cluster.muster("verify", "m@v1", "--dir", tmp_path / "out")


@pytest.mark.parametrize("strategy", ["type", "uniform"])
def test_strided_tensors_come_through_every_strategy_in_small_pieces(cluster, torch_files, tmp_path, strategy):
    cluster.publish(torch_files / "strides.pth", "m@v1", "--piece-size", "1MiB", strategy=strategy, shards=2)

    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")

    assert checkpoints.open_directory(tmp_path / "out") == expected_of(torch_files, "strides.pth")


def test_file_of_torch_comes_back_byte_for_byte_with_raw(cluster, torch_files, tmp_path):
    cluster.publish(torch_files / "module.bin", "m@v1", strategy="raw")

    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")

    assert (tmp_path / "out" / "module.bin").read_bytes() == (torch_files / "module.bin").read_bytes()


def test_sharded_directory_is_read_by_its_index(cluster, torch_files, tmp_path):
    source = torch_files / "sharded"
    seen = cluster.muster("inspect", source, "--json", server="127.0.0.1:1").json()
    assert {one["name"]: one["published"] for one in seen["sets"]} == {"pytorch_model*.bin": True, "training state": False}

    cluster.publish(source, "m@v1", shards=2)
    out = tmp_path / "out"
    text = cluster.muster("assemble", "m@v1", "--out", out).stderr

    assert "1 tensor of them under a further name, in model-00003-of-00003.safetensors" in text
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json", *(f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)), "model.safetensors.index.json",
    ]  # fmt: skip
    assert checkpoints.open_directory(out) == expected_of(torch_files, "sharded")
    assert set(checkpoints.open_with_safetensors(out / "model-00003-of-00003.safetensors")) == {"lm_head.weight"}
    # The other files are the shards.
    stored = {checkpoints.md5_file(path) for path in cluster.store.rglob("*.safetensors")}
    assert {checkpoints.md5_file(out / f"model-{i:05}-of-00003.safetensors") for i in (1, 2)} == stored


def test_tied_names_are_stored_once_and_said_by_one_shard(cluster, torch_files):
    cluster.publish(torch_files / "module.bin", "tied@v1", shards=3)
    names, count = tied_names(cluster.store)
    assert (names, count) == ({"head.weight": "embed.weight"}, 1)

    for path in cluster.store.rglob("*.safetensors"):
        path.unlink()
    cluster.publish(torch_files / "module.bin", "untied@v1", "--untie", shards=3)
    assert tied_names(cluster.store) == ({}, 0)
    versions = {
        model: cluster.api().models.GetModelVersion(name=f"models/{model}/versions/v1").model_version
        for model in ("tied", "untied")
    }
    assert versions["untied"].tensor_count == versions["tied"].tensor_count + 1


def test_single_shard_with_tied_names_has_an_index(cluster, torch_files, tmp_path):
    cluster.publish(torch_files / "module.bin", "m@v1", shards=1)

    out = tmp_path / "out"
    cluster.muster("assemble", "m@v1", "--out", out)

    assert sorted(path.name for path in out.iterdir()) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    assert checkpoints.open_directory(out) == expected_of(torch_files, "module.bin")
    # What was assembled can be published again; its names are tensors of their own now.
    cluster.publish(out, "m@v2", shards=2)
    cluster.muster("assemble", "m@v2", "--out", tmp_path / "again")
    assert checkpoints.open_directory(tmp_path / "again") == expected_of(torch_files, "module.bin")


@pytest.mark.parametrize("links", ["hard", "symlink"])
def test_view_has_every_name_and_is_kept(cluster, torch_files, tmp_path, links):
    cluster.publish(torch_files / "module.bin", "m@v1", shards=2)
    cluster.create_assembly("demo", "m@v1", policy="full")
    view = tmp_path / "view"
    for name, kept in (("first", "kept=false"), ("again", "kept=true")):
        agent = cluster.start_agent("n1", "demo", "--view", view, "--view-links", links, name=name)
        eventually(lambda: any("event=view " in line for line in agent.output().splitlines()), "the agent makes its view")
        assert kept in agent.output()
        assert checkpoints.open_directory(view) == expected_of(torch_files, "module.bin")
        agent.terminate()
    assert cluster.muster("view", "list", view, "--json").json()["items"][0]["state"] == "whole"
    cluster.muster("view", "remove", view, "--all")
    assert not (tmp_path / "view.d").exists()


def test_what_is_left_out_is_said(cluster, torch_files):
    text = cluster.publish(torch_files / "nested.pt", "m@v1").stderr

    assert "its tensors are those of \"state_dict\"" in text
    assert "left out, because no tensors of the model: \"optimizer\", \"epoch\", \"loss\"" in text


def test_in_place_is_refused_with_advice(cluster, torch_files):
    result = cluster.muster("publish", torch_files / "module.bin", "--model", "m@v1", "--in-place", check=False)

    assert result.code == 1
    assert "--strategy raw --in-place" in result.stderr


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_dict_of_tensors_is_refused_by_name(cluster, torch_files, tmp_path, name):
    result = cluster.publish(torch_files / f"{name}.pt", "bad@v1", shards=1, check=False)

    assert result.code == 1, result
    assert f"{name}.pt" in result.stderr
    assert REFUSED[name] in result.stderr
    assert "--strategy raw" in result.stderr
    assert not list(cluster.api().models.ListModelVersions().model_versions)
    assert not [path for path in cluster.store.rglob("*") if path.is_file()]
    assert not pathlib.Path("owned").exists()
    assert not list(tmp_path.rglob("owned"))


def test_file_that_is_cut_short_is_refused(cluster, torch_files, tmp_path):
    whole = (torch_files / "module.bin").read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.bin").write_bytes(whole[:size])
        result = cluster.muster("inspect", tmp_path / "cut.bin", server="127.0.0.1:1", check=False)
        assert result.code == 1
        assert "cut.bin" in result.stderr
        assert "cut short" in result.stderr


def test_damaged_pickle_is_refused(cluster, torch_files, tmp_path):
    damaged = tmp_path / "damaged.bin"
    damaged.write_bytes((torch_files / "module.bin").read_bytes())
    checkpoints.flip_byte(damaged, damaged.read_bytes().index(b"embed.weight"))

    result = cluster.muster("inspect", damaged, server="127.0.0.1:1", check=False)

    assert result.code == 1
    assert "does not match its CRC-32" in result.stderr


def test_bomb_takes_no_memory(cluster, torch_files, tmp_path):
    """The pickle says that a storage of 12 bytes is expanded to 2^40 elements."""
    bomb = tmp_path / "bomb.pt"
    script = "import sys, torch; torch.save({'a': torch.zeros(3)[:1].expand(1 << 40)}, sys.argv[1])"
    subprocess.run([DEBIAN_PYTHON, "-c", script, str(bomb)], check=True, timeout=60)
    assert struct.pack("<q", 1 << 40)[:6] in bomb.read_bytes()

    result = cluster.publish(bomb, "bad@v1", check=False)

    assert result.code == 1
    assert "far bigger than the file" in result.stderr
