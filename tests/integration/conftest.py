"""Fixtures: a cluster per test, its logs when the test fails, real storage servers, and a limit on how long a test may take."""

import faulthandler
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import zlib

import pytest

HERE = pathlib.Path(__file__).resolve().parent
# For `harness`, and for `fault_proxy`.
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from harness.cluster import Cluster  # noqa: E402
from harness.conditions import cannot_run  # noqa: E402
from harness.hdfs_server import HdfsServer  # noqa: E402
from harness.hosts import Hosts  # noqa: E402
from harness.remote_storage import find_only, random_weights  # noqa: E402
from harness.s3_servers import SERVERS  # noqa: E402

DEFAULT_LIMIT_SECONDS = 120


def pytest_addoption(parser):
    parser.addoption("--size", default="512MiB", help="checkpoint of the memory test, for instance 4GiB")


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): how long the test may take; 120 s without it")
    faulthandler.enable()


def pytest_generate_tests(metafunc):
    """A test that takes `repetition` runs so often as MUSTER_REPEAT says, once without it."""
    if "repetition" in metafunc.fixturenames:
        metafunc.parametrize("repetition", range(int(os.environ.get("MUSTER_REPEAT", "1"))))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    clusters = getattr(item, "clusters", [])
    if report.failed and clusters:
        report.sections.append(("logs", "\n".join(cluster.show_logs() for cluster in clusters)))


@pytest.fixture(autouse=True)
def watchdog(request):
    """Fails a test that hangs, wherever it hangs; the cluster's processes end with the fixture."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else DEFAULT_LIMIT_SECONDS

    def expired(_signal, _frame):
        raise AssertionError(f"the test took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def new_cluster(request, tmp_path):
    """Makes clusters that are not started; all are stopped at the end of the test."""
    request.node.clusters = []

    def make(name="cluster"):
        cluster = Cluster(tmp_path / name)
        request.node.clusters.append(cluster)
        return cluster

    yield make
    for cluster in request.node.clusters:
        cluster.close()


@pytest.fixture
def cluster(new_cluster):
    """A cluster whose server serves."""
    made = new_cluster()
    made.start_server()
    return made


@pytest.fixture(scope="module", params=SERVERS)
def s3_server(request, tmp_path_factory):
    """A real S3 server with a bucket "models"; each kind of them in turn."""
    server = SERVERS[request.param](tmp_path_factory.mktemp(request.param) / "server")
    server.make_bucket("models")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hdfs_server(tmp_path_factory):
    """A real HDFS with two data nodes."""
    server = HdfsServer(tmp_path_factory.mktemp("hdfs") / "server")
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The same, where every process finds it and nothing else: `muster`, agents, and Amazon's client."""
    find_only(monkeypatch, s3_server.environment)
    return s3_server


@pytest.fixture
def hdfs(hdfs_server, monkeypatch):
    """The same, where every process finds it and nothing else."""
    find_only(monkeypatch, hdfs_server.environment)
    return hdfs_server


@pytest.fixture(scope="module")
def big_file(request, tmp_path_factory):
    """Weights of as many bytes as the module's SIZE says, other ones for each module."""
    seed = zlib.crc32(request.module.__name__.encode())
    return random_weights(tmp_path_factory.mktemp("source"), request.module.SIZE, seed)


@pytest.fixture
def hosts():
    """hosts("a", "b") makes hosts with a network between them, which are gone at the end of the test."""
    made = []

    def make(*names):
        made.append(Hosts(names))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sharing_disk(tmp_path):
    """Mounts an XFS, whose files can share bytes (reflink): sharing_disk("name") returns the mount point."""
    mounted = []

    def run(*command):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            cannot_run(f"can't make an XFS for the test: {' '.join(done.args)}: {done.stderr.strip()}")

    def mount(name):
        point, image = tmp_path / name, tmp_path / f"{name}.img"
        if os.geteuid() != 0:
            cannot_run("mounting an XFS needs root")
        if shutil.which("mkfs.xfs") is None:
            cannot_run("mkfs.xfs of package xfsprogs is missing")
        point.mkdir()
        with open(image, "wb") as file:
            file.truncate(320 << 20)
        run("mkfs.xfs", "-q", "-m", "reflink=1", image)
        run("mount", "-o", "loop", image, point)
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", "-l", str(point)], check=False)


@pytest.fixture
def small_disk(tmp_path):
    """Mounts file systems of a few MiB: small_disk("name", mebibytes) returns the mount point."""
    mounted = []

    def mount(name, mebibytes):
        point = tmp_path / name
        point.mkdir()
        if os.geteuid() != 0:
            cannot_run("mounting a small tmpfs needs root")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "muster-test", str(point)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            cannot_run(f"can't mount a tmpfs: {done.stderr.strip()}")
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", "-l", str(point)], check=False)
