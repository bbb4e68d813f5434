"""Tensors in a program's memory: examples/load_tensors against the installed package (invariant 3, docs/design.md)."""

import hashlib
import re
import shutil

import pytest
import safetensors
from harness import checkpoints
from harness.caches import entries
from harness.examples import build_example

SHARDS = 4
TENSOR = re.compile(r"^(\S+) (\S+) \[([\d,]*)\] ([0-9a-f]{32})$", re.MULTILINE)


@pytest.fixture(name="program", scope="module")
def build_program(tmp_path_factory):
    return build_example("load_tensors", tmp_path_factory.mktemp("example"))[0]


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=3))


@pytest.fixture(name="published")
def publish(cluster, source):
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    return cluster


def load(cluster, program, place, name="load_tensors"):
    """Runs the example; returns its exit code, the tensors that it printed, and its output."""
    process = cluster.spawn(name, [program, cluster.address, "llama@v1", place, "1000"])
    code = process.wait(60)
    printed = {
        name: (dtype, tuple(int(size) for size in shape.split(",") if size), digest)
        for name, dtype, shape, digest in TENSOR.findall(process.output())
    }
    return code, printed, process.output()


def read_by_python(path):
    return {
        name: (entry["dtype"], tuple(entry["shape"]), hashlib.md5(bytes(entry["data"])).hexdigest())
        for name, entry in safetensors.deserialize(path.read_bytes())
    }


@pytest.mark.limit(400)
@pytest.mark.parametrize("place", ["private", "shared", "cache"])
def test_tensors_are_those_that_python_reads(published, program, source, tmp_path, place):
    where = tmp_path / "cache" if place == "cache" else place

    code, printed, output = load(published, program, where)

    assert code == 0, output
    assert printed == read_by_python(source)
    assert f"loaded {SHARDS} shards" in output


@pytest.mark.limit(400)
@pytest.mark.parametrize("place", ["private", "shared", "cache"])
def test_corrupt_shard_is_named_and_none_of_its_tensors_given_out(published, program, source, tmp_path, place):
    where = tmp_path / "cache" if place == "cache" else place
    [uri] = [location.uri for location in published.api().shards("llama", "v1")[1].locations]
    stored = uri.removeprefix("file://")
    lost = set(read_by_python_of_shard(stored))
    checkpoints.flip_byte(stored, 100_000)

    code, printed, output = load(published, program, where)

    assert code == 1
    assert "shard 1: " in output
    assert "has MD5" in output
    assert set(printed) == set(read_by_python(source)) - lost


def read_by_python_of_shard(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return list(file.keys())


@pytest.mark.limit(400)
def test_cached_shards_are_mapped_without_a_location(published, program, source, tmp_path):
    cache = tmp_path / "cache"
    published.muster("prefetch", "llama@v1", "--cache", cache)
    shutil.rmtree(published.store)

    code, printed, output = load(published, program, cache)

    assert code == 0, output
    assert printed == read_by_python(source)
    rotten = entries(cache)[0]
    rotten.chmod(0o644)
    checkpoints.flip_byte(rotten, 100_000)
    code, printed, output = load(published, program, cache, name="load_rotten")
    assert code == 1, "what rotted is not given out, and there is no other copy"
    assert len(printed) < len(read_by_python(source))
