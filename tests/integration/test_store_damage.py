"""Damage to the files of the server: it is complete or refuses, never less (invariants 1 and 8, docs/design.md).

Method: a server with tables and a log is killed; each case damages a copy of its data directory and starts a server on it.
"""

import concurrent.futures
import hashlib
import os
import random
import re
import shutil
import subprocess

import pytest
from harness.api import ApiError
from harness.cluster import binary
from harness.conditions import eventually

BAD_DATA_DIR = 3
STORE_FAILED = 5
SEED = 2026
MIB = 1 << 20


class Ledger:
    """What was acknowledged."""

    def __init__(self, api):
        self.api, self.nodes, self.models, self.revision = api, [], [], 0

    def add(self, first, count):
        for number in range(first, first + count):
            node, model = f"nodes/n{number}", f"models/m{number}/versions/v1"
            self.api.nodes.RegisterNode(node={"name": node}, lease_ttl={"seconds": 3600})
            reply = self.api.models.CreateModelVersion(
                model_version={"name": model, "shard_count": 3, "annotations": {"note": "x" * (number * 37 % 900)}}
            )
            self.nodes.append(node)
            self.models.append(model)
            self.revision = max(self.revision, reply.revision)

    def check(self, api):
        assert {node.name for node in api.paged(api.nodes.ListNodes, "nodes")} == set(self.nodes)
        assert {one.name for one in api.paged(api.models.ListModelVersions, "model_versions")} == set(self.models)


def fill(cluster, *args):
    """Two starts, so that there are tables, a log, and a MANIFEST that is not the first."""
    cluster.start_server(*args)
    ledger = Ledger(cluster.api())
    ledger.add(0, 20)
    assert cluster.server.terminate()[0] == 0
    cluster.start_server()
    ledger.add(20, 40)
    cluster.kill_server()
    return ledger


@pytest.fixture
def killed(new_cluster):
    """A cluster whose server was killed, and what it had acknowledged."""
    cluster = new_cluster()
    return cluster, fill(cluster)


def newest(directory, pattern):
    """The file that the store uses: the newest one that has bytes."""
    found = [path for path in sorted(directory.glob(pattern)) if path.stat().st_size > 0]
    assert found, f"{directory} has no {pattern}: {sorted(os.listdir(directory))}"
    return found[-1]


def holder_of(directory, text):
    """The file and the offset where some row is stored."""
    for path in sorted([*directory.glob("*.sst"), *directory.glob("*.log")]):
        at = path.read_bytes().find(text)
        if at >= 0:
            return path, at
    raise AssertionError(f"{text} is in no file")


def flip(path, at, mask):
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


def bit(path, chance):
    flip(path, chance.randrange(path.stat().st_size), 1 << chance.randrange(8))


def byte(path, chance):
    flip(path, chance.randrange(path.stat().st_size), 0xFF)


def header(path, chance):
    """Zeroed, as by a sector that was never written."""
    data = bytearray(path.read_bytes())
    at = chance.randrange(max(1, len(data) - 600))
    data[at : at + 11] = bytes(len(data[at : at + 11]))
    path.write_bytes(data)


def cut(path, chance):
    os.truncate(path, chance.randrange(path.stat().st_size))


def emptied(path, _chance):
    os.truncate(path, 0)


def removed(path, _chance):
    path.unlink()


FILES = ["*.log", "*.sst", "MANIFEST-*", "CURRENT", "OPTIONS-*", "IDENTITY", "WITNESS"]
DAMAGES = [bit, byte, header, cut, emptied, removed]


def cases():
    """Each damage to each file, and the log, which has the newest rows, more often."""
    for pattern in FILES:
        for damage in DAMAGES:
            rounds = 1 if damage in (emptied, removed) else 6 if pattern == "*.log" else 2
            for number in range(rounds):
                yield pattern, damage, number


def start_on(cluster, directory, *args):
    """Starts a server there; returns None once it serves, else its exit code."""
    cluster.address = None
    server = cluster.start_server(*args, data_dir=directory, wait=False)
    address_file = cluster.directory / "address"
    eventually(lambda: not server.running() or address_file.exists(), "the server serves or refuses")
    if not server.running():
        return server.exit_code
    cluster.address = address_file.read_text(encoding="ascii").strip()
    return None


def hashes(directory):
    """Of all files but RocksDB's lock and its own log."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if not path.name.startswith("LO")
    }


@pytest.mark.limit(300)
def test_server_on_damaged_files_is_complete_or_refuses(killed):
    cluster, ledger = killed
    counts = {"complete": 0, "refused": 0}
    for pattern, damage, number in cases():
        what = f"{pattern} {damage.__name__} {number}"
        chance = random.Random(f"{SEED} {what}")
        copy = cluster.directory / "copy"
        shutil.copytree(cluster.data_dir, copy)
        damage(newest(copy, pattern), chance)
        before = hashes(copy)
        code = start_on(cluster, copy)
        if code is None:
            try:
                ledger.check(cluster.api())
                counts["complete"] += 1
            except ApiError:
                # A block that is damaged is found when it is read, and ends the server.
                assert cluster.server.wait(10) == STORE_FAILED, what
                counts["refused"] += 1
        else:
            assert code == BAD_DATA_DIR, f"{what}\n{cluster.server.output()}"
            assert "DATA_LOSS" in cluster.server.output(), what
            # A block of a table is found damaged when the rows are read, after the logs became tables.
            opened = "the data directory can't be opened" not in cluster.server.output()
            assert opened or hashes(copy) == before, f"{what}: a refusal has changed files"
            counts["refused"] += 1
        cluster.kill_server()
        shutil.rmtree(copy)
    # Every damage to the log has to be refused, and the OPTIONS and IDENTITY are never needed.
    assert counts["refused"] >= 40, counts
    assert counts["complete"] >= 10, counts


def test_damaged_marker_row_is_refused(killed):
    cluster, _ledger = killed
    for number in range(3):
        copy = cluster.directory / f"marker{number}"
        shutil.copytree(cluster.data_dir, copy)
        path, at = holder_of(copy, b"muster format=1")
        flip(path, at + 3 * number, 0x10)

        assert start_on(cluster, copy) == BAD_DATA_DIR, cluster.server.output()
        assert "DATA_LOSS" in cluster.server.output()


def served(server):
    """What the line says with which the server began to serve."""

    def find():
        return next((line for line in server.output().splitlines() if "serving address=" in line), None)

    # Another thread writes the log.
    line = eventually(find, "the server says that it serves")
    return dict(re.findall(r"(\w+)=(\S+)", line))


def test_refusal_says_what_is_missing_and_accepting_it_begins_a_new_history(killed):
    cluster, ledger = killed
    history = served(cluster.server)["history_id"]
    log = newest(cluster.data_dir, "*.log")
    os.truncate(log, log.stat().st_size // 2)

    assert start_on(cluster, cluster.data_dir) == BAD_DATA_DIR
    told = cluster.server.output()
    found = re.search(r"the newest acknowledged is revision (\d+), and the store ends at revision (\d+)", told)
    assert found, told
    newest_acknowledged, end = int(found[1]), int(found[2])
    assert newest_acknowledged >= ledger.revision > end
    assert "--accept-loss" in told
    assert "Restore a backup" in told

    assert start_on(cluster, cluster.data_dir, "--accept-loss") is None
    told = cluster.server.output()
    assert told.count("loss=accepted") == 1
    assert served(cluster.server)["history_id"] != history
    assert int(served(cluster.server)["revision"]) == end
    api = cluster.api()
    left = {node.name for node in api.paged(api.nodes.ListNodes, "nodes")}
    assert {f"nodes/n{number}" for number in range(20)} <= left < set(ledger.nodes)
    again = served(cluster.server)["history_id"]
    api.nodes.RegisterNode(node={"name": "nodes/later"})
    cluster.kill_server()

    # Once only: from here on nothing is missing.
    cluster.start_server("--lease-ttl", "10s")
    assert served(cluster.server)["history_id"] == again
    assert "loss=" not in cluster.server.output()


def test_start_on_a_full_device_is_refused_in_a_sentence(new_cluster, small_disk):
    cluster = new_cluster()
    disk = small_disk("data-disk", 12)
    cluster.data_dir = disk / "data"
    ledger = fill(cluster, "--min-free", "0")
    filler = disk / "filler"
    filler.write_bytes(b"")
    with open(filler, "ab", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0
    before = hashes(cluster.data_dir)
    for _ in range(5):
        assert start_on(cluster, cluster.data_dir) == BAD_DATA_DIR, cluster.server.output()
        assert "RESOURCE_EXHAUSTED" in cluster.server.output()
        assert "0 bytes free" in cluster.server.output()
    assert hashes(cluster.data_dir) == before

    filler.unlink()
    assert start_on(cluster, cluster.data_dir) is None
    ledger.check(cluster.api())


def musterd(*args):
    return subprocess.run(
        [binary("musterd"), *map(str, args)], capture_output=True, text=True, timeout=60, check=False
    )


def test_check_reads_everything_and_changes_nothing(killed):
    cluster, ledger = killed
    before = hashes(cluster.data_dir)

    good = musterd("check", cluster.data_dir)
    assert good.returncode == 0, good.stdout + good.stderr
    assert int(re.search(r"revision (\d+)", good.stdout)[1]) >= ledger.revision
    assert re.search(r": checked: \d+ rows", good.stdout)
    assert hashes(cluster.data_dir) == before

    table = newest(cluster.data_dir, "*.sst")
    flip(table, 20, 0xFF)
    bad = musterd("check", cluster.data_dir)
    assert bad.returncode == BAD_DATA_DIR
    assert table.name in bad.stderr
    flip(table, 20, 0xFF)

    cluster.start_server()
    running = musterd("check", cluster.data_dir)
    assert running.returncode == BAD_DATA_DIR
    assert "in use" in running.stderr
    absent = musterd("check", cluster.directory / "absent")
    assert absent.returncode == BAD_DATA_DIR
    assert "is not there" in absent.stderr
    assert musterd("check").returncode == 2


def test_backup_of_a_running_server_holds_what_was_acknowledged_before_it(new_cluster):
    cluster = new_cluster()
    cluster.start_server()
    history = served(cluster.server)["history_id"]
    ledger = Ledger(cluster.api())
    ledger.add(0, 30)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for number in range(3):
            writing = pool.submit(ledger.add, 30 * (number + 1), 30)
            known = set(ledger.nodes)
            backup = cluster.directory / f"backup{number}"
            made = musterd("backup", cluster.data_dir, "--to", backup)
            assert made.returncode == 0, made.stdout + made.stderr
            writing.result()
            target = cluster.directory / f"restored{number}"
            restored = musterd("restore", "--from", backup, "--to", target)
            assert restored.returncode == 0, restored.stdout + restored.stderr
            told = re.search(r"revision (\d+), cluster (\w+), history (\w+)", restored.stdout)
            assert told, restored.stdout
            assert told[3] != history

            other = cluster.spawn(
                f"restored{number}",
                [binary("musterd"), "--data-dir", target, "--listen", "127.0.0.1:0"]
                + ["--address-file", cluster.directory / f"address{number}"],
            )
            address = cluster.directory / f"address{number}"
            eventually(address.exists, "the restored server serves")
            api = cluster.api(address.read_text(encoding="ascii").strip())
            found = {node.name for node in api.paged(api.nodes.ListNodes, "nodes")}
            assert known <= found <= set(ledger.nodes)
            assert served(other)["history_id"] == told[3]
            assert other.terminate()[0] == 0
    assert cluster.server.running()


def test_backups_that_would_overwrite_or_are_damaged_are_refused(killed):
    cluster, ledger = killed
    backup = cluster.directory / "backup"
    assert musterd("backup", cluster.data_dir, "--to", backup).returncode == 0
    again = musterd("backup", cluster.data_dir, "--to", backup)
    assert again.returncode == BAD_DATA_DIR
    assert "already exists" in again.stderr
    over = musterd("restore", "--from", backup, "--to", cluster.data_dir)
    assert over.returncode == BAD_DATA_DIR
    assert "already exists" in over.stderr
    start_on(cluster, cluster.data_dir)
    ledger.check(cluster.api())

    flip(newest(backup, "*.sst"), 20, 0x01)
    damaged = musterd("restore", "--from", backup, "--to", cluster.directory / "target")
    assert damaged.returncode == BAD_DATA_DIR
    assert not (cluster.directory / "target").exists()
    assert not [path for path in cluster.directory.iterdir() if "target" in path.name]
