"""Shards on a real HDFS: the store's contract, the whole loop, other name nodes, and what users see when it refuses."""

import contextlib
import http.client
import json
import re
import subprocess
import urllib.parse

import pytest
from fault_proxy import Answer, Cut, CutRequest, FaultProxy, Flip, FlipRequest, Late, Replace, Resize, Times
from fault_proxy import always, ever_since, first_of
from harness import checkpoints
from harness.cluster import free_port
from harness.remote_storage import (
    at_once,
    check_contract,
    check_loop,
    check_publishing_from,
    expect_only,
    publish_and_delete,
    publish_half,
    publish_raw,
    publish_that_fails,
    publish_the_rest,
    pull_that_fails,
    random_weights,
)


PIECE = 8 << 20
SIZE = 5 * PIECE + 12_345

pytestmark = pytest.mark.usefixtures("hdfs")


@pytest.mark.limit(600)
def test_the_store_keeps_its_contract(hdfs, monkeypatch):
    monkeypatch.setenv("MUSTER_WEBHDFS_ADDRESS", hdfs.web_address)
    check_contract("hdfs")


@pytest.mark.limit(300)
def test_published_loaded_and_assembled(cluster, hdfs, tmp_path):
    check_loop(cluster, hdfs.uri("models/loop"), tmp_path)


@pytest.mark.limit(300)
def test_the_name_node_that_serves_is_found(cluster, hdfs, big_file, tmp_path, monkeypatch):
    """As with a standby: the first one is away. The shard takes several appends."""
    monkeypatch.setenv("MUSTER_WEBHDFS_ADDRESS", f"127.0.0.1:{free_port()},{hdfs.web_address}")
    publish_raw(cluster, big_file, "hdfs://both/models/failover")
    out = tmp_path / "out"
    cluster.muster("pull", "llama@v1", "--out", out)
    expect_only(out, big_file)


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
    expect_only(out, big_file)


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
    """A name node that sends clients to data nodes by way of proxies, which break what the test wants.

    `of_data` and `of_names` are faults for every request that moves bytes, or choose one, as FaultProxy's `fault` does.
    """

    def __init__(self, hdfs):
        self.hdfs, self.of_data, self.of_names = hdfs, None, None
        self._proxies = {}
        host, port = hdfs.web_address.split(":")
        self.proxy = FaultProxy((host, int(port)), self._answer)

    @property
    def environment(self):
        return {"MUSTER_WEBHDFS_ADDRESS": f"127.0.0.1:{self.proxy.port}", "HADOOP_CONF_DIR": ""}

    def _answer(self, request):
        moves_bytes = re.search("op=(OPEN|CREATE|APPEND)", request.path)
        fault = self.of_names(request) if callable(self.of_names) else self.of_names if moves_bytes else None
        if fault is not None or not moves_bytes:
            return fault
        connection = http.client.HTTPConnection(*self.hdfs.web_address.split(":"))
        connection.request(request.method, request.path)
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        if reply.status == 307:
            return Answer(307, (f"Location: {self._by_proxy(reply.getheader('Location'))}",))
        if reply.status == 200:
            body = json.dumps({"Location": self._by_proxy(json.loads(body)["Location"])}).encode()
        return Answer(reply.status, ("Content-Type: application/json",), body)

    def _by_proxy(self, location):
        """The same address behind the proxy of its data node."""
        url = urllib.parse.urlsplit(location)
        if url.port not in self._proxies:
            self._proxies[url.port] = FaultProxy((url.hostname, url.port), self._at_data_node)
        return f"{self._proxies[url.port].url}{url.path}?{url.query}"

    def _at_data_node(self, request):
        return self.of_data(request) if callable(self.of_data) else self.of_data

    def close(self):
        for proxy in (self.proxy, *self._proxies.values()):
            proxy.close()


# What a pull from the only location meets at the data nodes and at the name node, and what its user gets to see.
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

    def check(what, of_data, of_names, told):
        with contextlib.closing(NameNodeBefore(hdfs)) as before:
            before.of_data, before.of_names = of_data, of_names
            pull_that_fails(cluster, tmp_path / what, before.environment, what, ["models/broken", *told])

    at_once(check, [(what, *case) for what, case in BROKEN.items()])
    # Here something arrives each time, and the next attempt asks for the rest.
    out = tmp_path / "out"
    with contextlib.closing(NameNodeBefore(hdfs)) as before:
        before.of_data = Cut(after=1_000_003)
        cluster.muster("pull", "llama@v1", "--out", out, env=before.environment)
    expect_only(out, big_file)


@pytest.fixture(name="before")
def put_proxies_before(hdfs):
    made = NameNodeBefore(hdfs)
    yield made
    made.close()


def ask(hdfs, method, path, operation):
    """The reply of the name node, as the superuser."""
    connection = http.client.HTTPConnection(*hdfs.web_address.split(":"))
    connection.request(method, f"/webhdfs/v1/{path}?user.name=muster&op={operation}")
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    assert reply.status == 200, body
    return json.loads(body) if body else None


def expect_no_files(hdfs, path):
    """Those that stand for an object until it is whole count, too."""
    assert ask(hdfs, "GET", path, "GETCONTENTSUMMARY")["ContentSummary"]["fileCount"] == 0


@pytest.mark.limit(300)
def test_uploads_get_over_what_passes(cluster, hdfs, before, big_file):
    """An object is one CREATE, one APPEND and one RENAME. Faults at data nodes, then at the name node."""
    kinds = {
        "cuts": (
            [Times(1, "op=CREATE", CutRequest(after=3_000_003)), Times(1, "op=APPEND", CutRequest(after=3_000_003))],
            [Times(1, "op=GETFILESTATUS", Cut(after=20)), Times(1, "op=RENAME", Cut(after=0, of_head=True))],
        ),
        "lost replies and storms": (
            [
                Times(1, "op=CREATE", Cut(after=0, of_head=True)),
                Times(1, "op=CREATE", Late(seconds=1)),
                Times(1, "op=APPEND", Cut(after=0, of_head=True)),
                Times(1, "op=APPEND", Answer(503, ("Retry-After: 1",))),
            ],
            [Times(2, "op=CREATE", Answer(503)), Times(1, "op=RENAME", Answer(503))],
        ),
    }
    for what, (at_data, at_names) in kinds.items():
        before.of_data, before.of_names = first_of(*at_data), first_of(*at_names)
        publish_and_delete(cluster, big_file, hdfs.uri("models/uploads"), before.environment)
        assert [fault.where for fault in at_data + at_names if fault.left] == [], what
    expect_no_files(hdfs, "models/uploads")


INVALID_TOKEN = java_error(403, "InvalidToken", "token (token for muster) is expired")

# What a publication meets at data nodes and at the name node, and what its user gets to see.
BREAKS_UPLOADS = {
    "an expired token": (None, always("op=APPEND", INVALID_TOKEN), ["is expired", "MUSTER_WEBHDFS_TOKEN"]),
    "denied": (
        None,
        always("op=CREATE", java_error(403, "AccessControlException", "Permission denied: user=nobody")),
        ["Permission denied"],
    ),
    "503 for ever": (always("op=APPEND", Answer(503, ("Retry-After: 3600",))), None, ["HTTP 503"]),
    "a redirect loop": (Answer(307, ("Location: /webhdfs/v1/again?op=CREATE",)), None, ["redirected more than"]),
    "a stall": (always("op=APPEND", Late(seconds=3600)), None, ["stalled", "hint: the storage does not answer"]),
    "a wrong length": (
        None,
        always("op=GETFILESTATUS", Replace(rb'"length":3', b'"length":9')),
        ["has 93554932 bytes where 33554932 were written"],
    ),
    "an address of no data node": (
        None,
        always("op=CREATE", Answer(200, (), b'{"Location":"file:///etc/passwd"}')),
        ["holds no address of a data node"],
    ),
}


@pytest.mark.limit(300)
def test_what_breaks_an_upload_is_told_and_taken_back(cluster, hdfs, before, tmp_path):
    # What is appended is so short that a connection over which it goes does not count as alive.
    source = random_weights(tmp_path, 4 * PIECE + 500, 41)
    folder = hdfs.uri("models/uploads")
    for what, (before.of_data, before.of_names, told) in BREAKS_UPLOADS.items():
        publish_that_fails(cluster, source, folder, before.environment, what, ["models/uploads/llama", *told])
    ask(hdfs, "PUT", "models/uploads", "MKDIRS")
    ask(hdfs, "PUT", "models/uploads", "SETQUOTA&storagespacequota=20000000")
    told = ["DSQuotaExceededException", "/models/uploads is exceeded", "19.07 MB"]
    publish_that_fails(cluster, source, folder, {}, "a full quota", told)
    ask(hdfs, "PUT", "models/uploads", "SETQUOTA&storagespacequota=-1")
    publish_and_delete(cluster, source, folder, {})
    expect_no_files(hdfs, "models/uploads")


@pytest.mark.limit(300)
def test_a_token_that_expires_half_way_costs_no_shard(cluster, hdfs, before, big_file):
    """The file that the second shard was written to can't be deleted, as after a kill."""
    folder = hdfs.uri("models/half")
    before.of_names = ever_since("shard-00001", INVALID_TOKEN)
    publish_half(cluster, big_file, folder, before.environment, ["models/half", "is expired", "MUSTER_WEBHDFS_TOKEN"])
    publish_the_rest(cluster, big_file, folder)


@pytest.mark.limit(300)
def test_wrong_bytes_on_their_way_in_are_never_handed_on(cluster, hdfs, before, big_file, tmp_path):
    """WebHDFS takes no digest, so that they are stored; whoever reads them finds out."""
    before.of_data = Times(1, "op=CREATE", FlipRequest(at=1_000_003))
    publish_raw(cluster, big_file, hdfs.uri("models/uploads"), env=before.environment)
    verified = cluster.muster("verify", "llama@v1", check=False)
    assert verified.code == 1 and "MD5" in verified.text, verified
    pull_that_fails(cluster, tmp_path / "out", {}, "a wrong byte", ["models/uploads", "MD5"])


def test_refusals_name_the_cause(cluster, hdfs, big_file):
    refusals = {
        "not allowed": ({"HADOOP_USER_NAME": "nobody"}, "Permission denied"),
        "the port of RPCs": ({"MUSTER_WEBHDFS_ADDRESS": f"127.0.0.1:{hdfs.rpc_port}"}, "is the port of RPCs"),
        "an address that makes no sense": ({"MUSTER_WEBHDFS_ADDRESS": "here"}, "MUSTER_WEBHDFS_ADDRESS"),
    }
    for what, (environment, told) in refusals.items():
        done = publish_raw(cluster, big_file, hdfs.uri("top"), env=environment, check=False)
        assert done.code == 1 and told in done.stderr, f"{what}: {done}"
        assert cluster.muster("models", "list", "--json").json()["items"] == []
