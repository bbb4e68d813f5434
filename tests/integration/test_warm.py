"""`agent --warm`: a READY model is in the page cache; and caches on memory file systems."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from harness import checkpoints
from harness.caches import entries
from harness.conditions import cannot_run, eventually

SHARDS = 4


@pytest.fixture(name="published")
def publish(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer())
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", shards=SHARDS)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    return cluster


def drop_from_page_cache(paths):
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def resident_bytes(paths):
    """Of these files, what is in the page cache, by util-linux' fincore."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, paths)]
    return sum(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))


def warmed_line(agent):
    return next((line for line in agent.output().splitlines() if "event=warmed" in line), None)


def start_cold(cluster, cache, *words):
    """An agent with words on a cache that holds the model, but not in memory; and its warmed line."""
    first = cluster.start_agent("n1", "demo", cache=cache)
    cluster.wait_ready("demo")
    first.terminate()
    drop_from_page_cache(entries(cache))
    if resident_bytes(entries(cache)) > 0:
        cannot_run("this file system keeps what it is asked to drop from the page cache")
    # Without the scrub, which reads everything too.
    agent = cluster.start_agent("n1", "demo", "--scrub-rate", "0", *words, name="agent-again", cache=cache)
    return eventually(lambda: warmed_line(agent), "the agent says what it warmed")


def test_ready_model_is_brought_into_the_page_cache(published, tmp_path):
    cache = tmp_path / "cache"
    line = start_cold(published, cache, "--warm", "--warm-reserve", "1MiB")
    total = sum(path.stat().st_size for path in entries(cache))
    assert f'assembly="demo" warm_bytes={total} left_bytes=0 in_memory=false' in line
    assert resident_bytes(entries(cache)) >= total


def test_memory_that_is_reserved_is_left_alone(published, tmp_path):
    cache = tmp_path / "cache"
    line = start_cold(published, cache, "--warm", "--warm-reserve", "1PiB")
    total = sum(path.stat().st_size for path in entries(cache))
    assert f"warm_bytes=0 left_bytes={total}" in line
    assert resident_bytes(entries(cache)) == 0


def test_cache_in_shared_memory_is_as_good_as_another(published):
    if not os.access("/dev/shm", os.W_OK):
        cannot_run("there is no /dev/shm to write to")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="muster-test-", dir="/dev/shm"))
    try:
        agent = published.start_agent("n1", "demo", "--warm", cache=directory / "cache")
        published.wait_ready("demo")
        line = eventually(lambda: warmed_line(agent), "the agent says that there is nothing to warm")
        assert "warm_bytes=0 left_bytes=0 in_memory=true" in line
        verified = published.muster("cache", "verify", "--cache", directory / "cache", "--json").json()
        assert verified["good"] == SHARDS
        agent.terminate()
    finally:
        shutil.rmtree(directory)
