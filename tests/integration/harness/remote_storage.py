"""What the tests of real storage servers share."""

import os
import pathlib
import random
import subprocess

from harness.cluster import binary


def find_only(monkeypatch, environment):
    """Lets every process find the server that `environment` names, whatever else the machine's names."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def random_weights(directory, size, seed):
    path = pathlib.Path(directory) / "weights.gguf"
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def publish_raw(cluster, source, folder, *args, **kwargs):
    """As llama@v1, in one shard."""
    return cluster.muster(
        "publish", source, "--model", "llama@v1", "--to", folder, "--strategy", "raw", "--shards", 1, *args, **kwargs
    )


def check_contract(kind):
    """Runs the contract of object stores against the server that the environment names."""
    program = pathlib.Path(binary("muster")).parent.parent / "tests" / f"{kind}_object_contract_test"
    done = subprocess.run([program, "--gtest_brief=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}{done.stderr[-2000:]}"
