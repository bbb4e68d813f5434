"""Publishing and assembling take memory by pieces, not by the model. By hand: --size 4GiB."""

import shutil
import threading

import pytest
from harness.conditions import POLL_SECONDS, cannot_run

MIB = 1 << 20
LIMIT_BYTES = 512 * MIB
UNITS = {"MiB": MIB, "GiB": 1024 * MIB}


def size_bytes(text):
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    raise ValueError(f"--size {text}: a number with MiB or GiB")


def peak_of(process, timeout):
    """Runs a process to its end; returns its peak of resident memory, mapped files included."""
    ended = threading.Event()
    peaks = [0]

    def sample():
        while not ended.wait(POLL_SECONDS):
            peaks.append(process.peak_resident_bytes())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        assert process.wait(timeout) == 0, process.output()
    finally:
        ended.set()
        sampler.join()
    assert max(peaks) > 0
    return max(peaks)


@pytest.mark.limit(1800)
def test_publish_and_assemble_stay_below_512_mib(cluster, request, record_property):
    size = request.config.getoption("--size")
    needed = 3 * size_bytes(size) + 200 * MIB
    if shutil.disk_usage(cluster.directory).free < needed:
        cannot_run(f"{cluster.directory} has no room for three copies of {size}")
    source, out = cluster.directory / "model.safetensors", cluster.directory / "out"
    cluster.muster("sample", "--out", source, "--size", size, timeout=900)

    publish = peak_of(
        cluster.spawn_muster(
            "publish", "publish", source, "--model", "big@v1", "--to", f"file://{cluster.store}", "--shards", 16
        ),
        900,
    )
    assemble = peak_of(cluster.spawn_muster("assemble", "assemble", "big@v1", "--out", out), 900)

    print(f"peak resident memory with {size}: publish {publish // MIB} MiB, assemble {assemble // MIB} MiB")
    record_property("publish_bytes", publish)
    record_property("assemble_bytes", assemble)
    assert publish < LIMIT_BYTES
    assert assemble < LIMIT_BYTES
    for path in (source, cluster.store, out):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
