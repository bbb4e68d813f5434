"""What the tests of real storage servers share."""

import concurrent.futures
import os
import pathlib
import random
import subprocess

from harness import checkpoints
from harness.cluster import binary


def find_only(monkeypatch, environment):
    """Lets every process find the server that `environment` names, whatever else the machine's names."""
    named = ("AWS_", "SSL_CERT_", "CURL_CA_BUNDLE")
    for name in [name for name in os.environ if name.startswith(named) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def make_certificate(path):
    """PATH.pem and PATH.key for 127.0.0.1; it is its own authority."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{path}.key", "-out", f"{path}.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


def random_weights(directory, size, seed):
    path = pathlib.Path(directory) / "weights.gguf"
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def publish_raw(cluster, source, folder, *args, shards=1, **kwargs):
    """As llama@v1."""
    return cluster.muster(
        "publish", source, "--model", "llama@v1", "--to", folder, "--strategy", "raw", "--shards", shards, *args, **kwargs
    )


def expect_only(out, source):
    """`out` holds one file, with the bytes of `source`."""
    found = [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()]
    assert found == [checkpoints.md5_file(source)]


def at_once(check, cases):
    """Calls `check(*case)` for all of them at the same time: most of it is spent waiting to try again."""
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        for done in [pool.submit(check, *case) for case in cases]:
            done.result()


def pull_that_fails(cluster, out, environment, what, told):
    """A pull of llama@v1 into `out` that `what` breaks: its user sees `told` (some words), and nothing else appears."""
    done = cluster.muster("pull", "llama@v1", "--out", out, env=environment, check=False)
    assert done.code == 1, f"{what}: {done}"
    assert all(words in done.stderr for words in told), f"{what}: {done}"
    assert not out.exists() or not any(path.is_file() for path in out.rglob("*")), what
    return done


def publish_that_fails(cluster, source, folder, environment, what, told):
    """A publication of llama@v1 that `what` breaks: its user sees `told` (some words), and nothing else appears."""
    done = publish_raw(cluster, source, folder, env=environment, check=False)
    assert done.code == 1, f"{what}: {done}"
    assert all(words in done.stderr for words in told), f"{what}: {done}"
    assert cluster.muster("models", "list", "--json").json()["items"] == [], what
    return done


def publish_and_delete(cluster, source, folder, environment):
    """A publication of llama@v1 that ends well: every byte is read and compared, then all of it is deleted."""
    publish_raw(cluster, source, folder, env=environment)
    cluster.muster("verify", "llama@v1")
    cluster.muster("models", "delete", "llama@v1", "--with-objects")


def publish_half(cluster, source, folder, environment, told):
    """The storage lets nobody in any more when the first of three shards is stored: it stays, with a draft."""
    done = publish_raw(cluster, source, folder, "--jobs", 1, shards=3, env=environment, check=False)
    assert done.code == 1, done
    assert all(words in done.stderr for words in [*told, "the same command resumes it"]), done
    states = [version["state"] for version in cluster.muster("models", "list", "--json").json()["items"]]
    assert states == ["DRAFT"]
    return done


def publish_the_rest(cluster, source, folder):
    """Goes on after publish_half, by the same command."""
    done = publish_raw(cluster, source, folder, "--jobs", 1, shards=3)
    assert "1 of 3 shards were stored already" in done.stdout, done
    cluster.muster("verify", "llama@v1")
    cluster.muster("models", "delete", "llama@v1", "--with-objects")


def check_loop(cluster, folder, tmp_path):
    """A model is published to `folder`, loaded by two agents, verified and assembled, and is what it was."""
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    cluster.muster("publish", source, "--model", "llama@v1", "--to", folder, "--shards", 4)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("verify", "llama@v1")
    out = tmp_path / "out"
    cluster.muster("assemble", "llama@v1", "--out", out)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)


def check_publishing_from(cluster, uri, source, tmp_path):
    """The model directory `source` is at `uri`, too: it is published from there, in place and cut again, and returns."""
    seen = cluster.muster("inspect", uri, "--in-place", "--json").json()
    done = cluster.muster("publish", uri, "--model", "llama@v1", "--in-place")
    assert "in place" in done.stdout
    shards = cluster.api().shards("llama", "v1")
    assert len(shards) == sum(len(one["files"]) for one in seen["sets"] if one["published"])
    assert all(shard.locations[0].uri.startswith(uri) for shard in shards)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "in-place")
    assert checkpoints.open_directory(tmp_path / "in-place") == checkpoints.open_directory(source)
    assert checkpoints.companions(tmp_path / "in-place") == checkpoints.companions(source)

    cluster.muster("publish", uri, "--model", "llama@v2", "--to", f"file://{cluster.store}", "--shards", 5)
    cluster.muster("assemble", "llama@v2", "--out", tmp_path / "cut-again")
    assert checkpoints.open_directory(tmp_path / "cut-again") == checkpoints.open_directory(source)
    assert len(cluster.api().shards("llama", "v2")) == 5

    # What was there before is never deleted.
    cluster.muster("assemblies", "delete", "demo", "--force")
    cluster.muster("models", "delete", "llama@v1", "--with-objects")
    cluster.muster("publish", uri, "--model", "llama@v3", "--in-place")


def check_contract(kind):
    """Runs the contract of object stores against the server that the environment names."""
    program = pathlib.Path(binary("muster")).parent.parent / "tests" / f"{kind}_object_contract_test"
    done = subprocess.run([program, "--gtest_brief=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}{done.stderr[-2000:]}"
