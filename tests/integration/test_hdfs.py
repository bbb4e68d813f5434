"""Shards on a real HDFS: the store's contract, the whole loop, other name nodes, and what users see when it refuses."""

import http.client
import json
import pathlib
import subprocess
import sys
import urllib.parse

import pytest
from harness import checkpoints
from harness.cluster import free_port
from harness.hdfs_server import HdfsServer
from harness.remote_storage import check_contract, check_publishing_from, find_only, publish_raw, pull_that_fails, random_weights

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fault_proxy import Answer, Cut, FaultProxy, Flip, Resize  # noqa: E402

PIECE = 8 << 20
SIZE = 5 * PIECE + 12_345


@pytest.fixture(name="hdfs", scope="module")
def serve(tmp_path_factory):
    server = HdfsServer(tmp_path_factory.mktemp("hdfs") / "server")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def settings_of_the_server(hdfs, monkeypatch):
    """What every process finds: `muster`, and agents."""
    find_only(monkeypatch, hdfs.environment)


@pytest.fixture(name="big_file", scope="module")
def make_big_file(tmp_path_factory):
    return random_weights(tmp_path_factory.mktemp("source"), SIZE, 31)


@pytest.mark.limit(600)
def test_the_store_keeps_its_contract(hdfs, monkeypatch):
    monkeypatch.setenv("MUSTER_WEBHDFS_ADDRESS", hdfs.web_address)
    check_contract("hdfs")


@pytest.mark.limit(300)
def test_published_loaded_and_assembled(cluster, hdfs, tmp_path):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    cluster.muster("publish", source, "--model", "llama@v1", "--to", hdfs.uri("models/loop"), "--shards", 4)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    cluster.start_agents(2, "demo")
    cluster.wait_ready("demo")
    cluster.muster("verify", "llama@v1")
    out = tmp_path / "out"
    cluster.muster("assemble", "llama@v1", "--out", out)
    assert checkpoints.open_directory(out) == checkpoints.open_directory(source)


@pytest.mark.limit(300)
def test_the_name_node_that_serves_is_found(cluster, hdfs, big_file, tmp_path, monkeypatch):
    """As with a standby: the first one is away. The shard takes several appends."""
    monkeypatch.setenv("MUSTER_WEBHDFS_ADDRESS", f"127.0.0.1:{free_port()},{hdfs.web_address}")
    publish_raw(cluster, big_file, "hdfs://both/models/failover")
    out = tmp_path / "out"
    cluster.muster("pull", "llama@v1", "--out", out)
    assert [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()] == [checkpoints.md5_file(big_file)]


@pytest.mark.limit(300)
def test_a_file_takes_over_where_hdfs_has_lost_it(cluster, hdfs, big_file, tmp_path):
    """Locations of different kinds inside one shard."""
    publish_raw(cluster, big_file, f"file://{cluster.store}")
    lost = hdfs.uri("models/lost/shard")
    entry = {"shard": 0, "location": {"uri": lost, "priority": 0}}
    api = cluster.api()
    there = api.shards("llama", "v1")[0].locations[0].uri
    name = "models/llama/versions/v1"
    api.models.AddLocations(name=name, entries=[{"shard": 0, "location": {"uri": there, "priority": 9}}, entry])
    out = tmp_path / "out"
    done = cluster.muster("pull", "llama@v1", "--out", out)
    assert lost in done.stderr and "FileNotFoundException" in done.stderr, done
    assert [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()] == [checkpoints.md5_file(big_file)]


@pytest.mark.limit(300)
def test_a_model_in_hdfs_is_published_from_there(cluster, hdfs, tmp_path):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    uri = hdfs.uri("models/there")
    subprocess.run([*hdfs.shell, "-mkdir", "-p", uri], check=True, capture_output=True)
    subprocess.run([*hdfs.shell, "-put", source, f"{uri}/llama"], check=True, capture_output=True)
    check_publishing_from(cluster, f"{uri}/llama/", source, tmp_path)


def java_error(status, exception, message):
    body = {"RemoteException": {"exception": exception, "javaClassName": f"org.apache.{exception}", "message": message}}
    return Answer(status, ("Content-Type: application/json",), json.dumps(body).encode())


class NameNodeBefore:
    """A name node that sends readers to data nodes by way of proxies, which break what the test wants."""

    def __init__(self, hdfs):
        self.hdfs, self.of_data, self.of_names = hdfs, None, None
        self._proxies = {}
        host, port = hdfs.web_address.split(":")
        self.proxy = FaultProxy((host, int(port)), self._answer)

    def _answer(self, request):
        if "op=OPEN" not in request.path:
            return None
        if self.of_names is not None:
            return self.of_names
        connection = http.client.HTTPConnection(*self.hdfs.web_address.split(":"))
        connection.request("GET", request.path)
        location = urllib.parse.urlsplit(connection.getresponse().getheader("Location"))
        connection.close()
        if location.port not in self._proxies:
            self._proxies[location.port] = FaultProxy((location.hostname, location.port), lambda request: self.of_data)
        proxy = self._proxies[location.port]
        return Answer(307, (f"Location: {proxy.url}{location.path}?{location.query}",))

    def close(self):
        for proxy in (self.proxy, *self._proxies.values()):
            proxy.close()


# What a pull from the only location meets at the data nodes and at the name node, and what its user is told.
BROKEN = {
    "cut in the first byte": (Cut(after=0), None, ["tried"]),
    "cut in the head": (Cut(after=30, of_head=True), None, ["tried"]),
    "too much": (Resize(by=100), None, ["sends more than"]),
    "a wrong byte": (Flip(at=1000), None, ["MD5"]),
    "a storm of 503": (Answer(503, ("Retry-After: 3600",)), None, ["HTTP 503"]),
    "a redirect loop": (None, Answer(307, ("Location: /webhdfs/v1/again?op=OPEN",)), ["redirect"]),
    "an expired token": (None, java_error(403, "SecretManager$InvalidToken", "token is expired"), ["token is expired"]),
    "denied": (None, java_error(403, "AccessControlException", "Permission denied: user=nobody"), ["Permission denied"]),
    "deleted after it was looked at": (None, java_error(404, "FileNotFoundException", "File does not exist"), ["FileNotFound"]),
    "a standby": (None, java_error(403, "StandbyException", "READ is not supported in state standby"), ["standby"]),
}


@pytest.mark.limit(600)
def test_what_breaks_on_the_way_is_told(cluster, hdfs, big_file, tmp_path):
    publish_raw(cluster, big_file, hdfs.uri("models/broken"))
    out = tmp_path / "out"
    before = NameNodeBefore(hdfs)
    environment = {"MUSTER_WEBHDFS_ADDRESS": f"127.0.0.1:{before.proxy.port}", "HADOOP_CONF_DIR": ""}
    try:
        for what, (before.of_data, before.of_names, told) in BROKEN.items():
            pull_that_fails(cluster, out, environment, what, ["models/broken", *told])
        # Here something arrives each time, and the next attempt asks for the rest.
        before.of_data, before.of_names = Cut(after=1_000_003), None
        cluster.muster("pull", "llama@v1", "--out", out, env=environment)
    finally:
        before.close()
    assert [checkpoints.md5_file(path) for path in out.rglob("*") if path.is_file()] == [checkpoints.md5_file(big_file)]


def test_refusals_name_the_cause(cluster, hdfs, big_file):
    refusals = {
        "not allowed": ({"HADOOP_USER_NAME": "nobody"}, "Permission denied"),
        "the port of RPCs": ({"MUSTER_WEBHDFS_ADDRESS": f"127.0.0.1:{hdfs.rpc_port}"}, "is the port of RPCs"),
        "an address that makes no sense": ({"MUSTER_WEBHDFS_ADDRESS": "here"}, "MUSTER_WEBHDFS_ADDRESS"),
    }
    for what, (environment, told) in refusals.items():
        done = publish_raw(cluster, big_file, hdfs.uri("top"), env=environment, check=False)
        assert done.code == 1 and told in done.stderr, f"{what}: {done}"
        assert cluster.muster("models", "list", "--json").json()["model_versions"] == []
