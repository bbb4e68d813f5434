"""A node does what its operator allows, whatever stands in the catalogue and whoever makes it a member."""

import contextlib
import hashlib
import http.server
import json
import signal
import threading

import pytest
from harness import checkpoints, model_families
from harness.caches import entries
from harness.conditions import always, eventually
from harness.made_up import add_assembly
from harness.views import await_line, lines_with

SECRET = b"-----BEGIN PRIVATE KEY-----\n" + b"k" * 37
FAILED = 4


@pytest.fixture(autouse=True)
def no_rules_of_the_harness(monkeypatch):
    monkeypatch.delenv("MUSTER_ALLOW_LOCATION")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(name="secret")
def write_secret(tmp_path):
    path = tmp_path / "private" / "key"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


def register(api, version, uri, size, md5=None):
    """What anybody who reaches the server can do: a model version of one shard, wherever it says."""
    name = f"models/evil/versions/{version}"
    md5 = md5 or hashlib.md5(SECRET).hexdigest()
    api.models.CreateModelVersion(model_version={"name": name, "shard_count": 1})
    api.models.AddShards(name=name, shards=[{"index": 0, "size_bytes": size, "md5": md5, "locations": [{"uri": uri}]}])
    api.models.CommitModelVersion(name=name)
    return name


def failure_of(api, assembly):
    def failed():
        replicas = api.assemblies.GetShardStatus(name=f"assemblies/{assembly}", shard=0).replicas
        return next((replica.failure for replica in replicas if replica.state == FAILED), None)

    return eventually(failed, f"{assembly} has a shard that failed")


class CountingServer:
    """A web server that sends SECRET, or redirects, and counts connections."""

    def __init__(self, redirect_to=None):
        self.connections = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):  # pylint: disable=invalid-name
                if redirect_to is not None:
                    self.send_response(302)
                    self.send_header("Location", redirect_to)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(SECRET)))
                self.end_headers()

            do_GET = do_HEAD

            def log_message(self, *_args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self):
                server.connections += 1
                return super().get_request()

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(**how):
    server = CountingServer(**how)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("allowed", ["nothing", "the store"])
def test_files_that_nobody_named_are_not_opened_and_not_told_of(cluster, secret, allowed):
    api = cluster.api()
    cluster.store.mkdir()
    args = [] if allowed == "nothing" else ["--allow-location", f"file://{cluster.store}"]
    (cluster.store / "link").symlink_to(secret)
    (cluster.store / "up").symlink_to("../private")
    uris = [f"file://{secret}", f"file://localhost{secret}", f"file://{cluster.store}/link", f"file://{cluster.store}/up/key"]
    guesses = [(1, "0" * 32), (len(SECRET), "0" * 32), (len(SECRET), None)]
    words = []
    for i, (uri, (size, md5)) in enumerate((uri, guess) for uri in uris for guess in guesses):
        add_assembly(api, register(api, f"v{i}", uri, size, md5), f"evil{i}", policy="FULL")
        words += ["--assembly", f"evil{i}"]
    agent = cluster.spawn(
        "agent-n1", cluster.muster_command("agent", "--node", "n1", "--cache", cluster.cache("n1"), *words, *args)
    )

    failures = [failure_of(api, f"evil{i}") for i in range(len(uris) * len(guesses))]

    for failure in failures:
        assert failure.code == failure.NOT_ALLOWED, failure
        assert "--allow-location" in failure.message or "leads out of" in failure.message
        assert str(len(SECRET)) not in failure.message and not failure.found_md5
    assert not entries(cluster.cache("n1"))
    assert agent.running()
    # The right one says why, and the location is not to blame.
    assert "NOT_ALLOWED" in cluster.muster("explain", "evil0").stdout
    assert not api.shards("evil", "v0")[0].locations[0].suspect


def test_what_is_in_an_allowed_file_stays_on_the_node(cluster, secret):
    api = cluster.api()
    for name, size, md5 in (("small", 1, "0" * 32), ("big", 1000, "0" * 32), ("other", len(SECRET), "0" * 32)):
        add_assembly(api, register(api, name, f"file://{secret}", size, md5), name, policy="FULL")
    words = ["--assembly", "small", "--assembly", "big", "--assembly", "other", "--allow-location", f"file://{secret.parent}"]
    agent = cluster.spawn("agent-n1", cluster.muster_command("agent", "--node", "n1", "--cache", cluster.cache("n1"), *words))

    failures = {name: failure_of(api, name) for name in ("small", "big", "other")}

    found = hashlib.md5(SECRET).hexdigest()
    for name, failure in failures.items():
        assert failure.code == (failure.MISSING if name == "big" else failure.CORRUPT), failure
        assert str(len(SECRET)) not in failure.message and found not in str(failure), failure
    # Its own log has them.
    log = agent.output()
    assert f"has {len(SECRET)} bytes" in log and found in log


def test_pull_acts_for_its_user_and_can_be_narrowed(cluster, secret, tmp_path):
    register(cluster.api(), "v1", f"file://{secret}", len(SECRET))

    refused = cluster.muster("pull", "evil@v1", "--out", tmp_path / "a", "--allow-location", "file:///srv", check=False)
    prefetched = cluster.muster("prefetch", "evil@v1", "--cache", tmp_path / "cache", "--json", check=False)
    cluster.muster("pull", "evil@v1", "--out", tmp_path / "b")
    by_variable = {"MUSTER_ALLOW_LOCATION": f"s3://x,file://{secret.parent}"}
    cluster.muster("prefetch", "evil@v1", "--cache", tmp_path / "cache", env=by_variable)

    assert refused.code == 1 and f"--allow-location file://{secret.parent}" in refused.stderr
    assert json.loads(prefetched.stderr)["reason"] == "LOCATION_NOT_ALLOWED"
    assert json.loads(prefetched.stderr)["code"] == "PERMISSION_DENIED"
    assert [path.read_bytes() for path in (tmp_path / "b").iterdir()] == [SECRET]
    unknown = cluster.muster("pull", "evil@v1", "--out", tmp_path / "c", "--allow-location", "/srv", check=False)
    assert unknown.code == 2 and "--allow-location" in unknown.stderr


def test_services_of_the_node_are_not_connected_to(cluster):
    api = cluster.api()
    with serving() as inside, serving(redirect_to=f"{inside.url}/latest") as named:
        for name, url in (("direct", inside.url), ("redirected", named.url)):
            register(api, name, f"{url}/key", len(SECRET))
            add_assembly(api, f"models/evil/versions/{name}", name, policy="FULL")
        cluster.start_agent("n1", "direct")
        cluster.start_agent("n2", "redirected", "--allow-location", f"{named.url}/key")

        direct, redirected = failure_of(api, "direct"), failure_of(api, "redirected")

        assert direct.code == direct.NOT_ALLOWED and redirected.code == redirected.NOT_ALLOWED
        assert "127.0.0.1" in redirected.message
        assert named.connections > 0
        assert inside.connections == 0


def test_only_assemblies_that_the_agent_was_told_to_join_are_fetched(cluster, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer())
    cluster.publish(source, "llama@v1", shards=4)
    cluster.create_assembly("mine", "llama@v1", policy="full")
    cluster.publish(checkpoints.write_safetensors(tmp_path / "b.safetensors", checkpoints.transformer(seed=9)), "other@v1", shards=2)
    cluster.create_assembly("theirs", "other@v1", policy="full")
    config = tmp_path / "agent.yaml"
    flags = f"cache: {tmp_path / 'cache'}\nallow-location: [file://{cluster.store}]\n"
    config.write_text(f"{flags}assemblies: [mine]\n")
    agent = cluster.spawn("agent-n1", cluster.muster_command("agent", "--config", config, "--node", "n1"))
    cluster.wait_ready("mine")
    api = cluster.api()
    cached = set(entries(tmp_path / "cache"))
    epoch = api.nodes.GetNode(name="nodes/n1").node.epoch
    api.assemblies.JoinAssembly(name="assemblies/theirs", node="nodes/n1", epoch=epoch, claim={"kind": "ALL"})

    await_line(agent, "refused", 'assembly="theirs"')
    always(lambda: set(entries(tmp_path / "cache")) == cached, "nothing of it is fetched", 1)
    assert api.is_ready("mine")

    config.write_text(f"{flags}assemblies: [mine, theirs]\n")
    agent.signal(signal.SIGHUP)
    cluster.wait_ready("theirs")
    assert len(lines_with(agent, "refused")) == 1
    assert len(lines_with(agent, "registered")) == 1


def test_code_reaches_no_directory_unless_it_is_allowed_there(cluster, tmp_path):
    model_families.qwen_moe_fp8(tmp_path / "qwen")
    cluster.publish(tmp_path / "qwen", "m@v1", "--allow-code")
    cluster.create_assembly("demo", "m@v1", policy="full")
    rule = ["--allow-location", f"file://{cluster.store}"]

    refused = cluster.muster("assemble", "m@v1", "--out", tmp_path / "a", "--json", check=False)
    cluster.muster("assemble", "m@v1", "--out", tmp_path / "b", "--allow-code")
    cluster.muster("pull", "m@v1", "--out", tmp_path / "c")
    without = cluster.start_agent("n1", "demo", "--view", tmp_path / "view-1", *rule)
    with_code = cluster.start_agent("n2", "demo", "--view", tmp_path / "view-2", "--allow-code", *rule)

    assert json.loads(refused.stderr)["reason"] == "CODE_NOT_ALLOWED"
    assert "modeling_qwen3_moe.py" in json.loads(refused.stderr)["metadata"]["files"]
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b" / "modeling_qwen3_moe.py").exists()
    assert not list((tmp_path / "c").glob("*.py"))
    assert "CODE_NOT_ALLOWED" in await_line(without, "ready_failed")
    await_line(with_code, "view")
    assert (tmp_path / "view-2" / "modeling_qwen3_moe.py").exists()
    assert not (tmp_path / "view-1").exists() and not list(tmp_path.glob("view-1.d/**/*.py"))
