"""Locations on web servers: a real nginx, and a proxy before it that breaks what it can.

Never a wrong byte (invariant 3, docs/design.md).
"""

import os
import pathlib
import shutil

import pytest
from fault_proxy import Answer, Cut, FaultProxy, Flip, Resize, Stall, Throttle
from harness import checkpoints
from harness.conditions import eventually
from harness.remote_storage import check_publishing_from, make_certificate
from harness.web_server import WebServer, read_over

PIECE = 1 << 20
PIECES = 24
SIZE = PIECES * PIECE
CONNECTIONS = 4
IN_FLIGHT = CONNECTIONS * PIECE
# Pieces that take long are read a second time elsewhere, within this many bytes.
SECOND_READS = SIZE // 20


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """The servers are on loopback, whatever proxies and authorities the machine's environment names."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="web")
def serve(cluster):
    web = WebServer(cluster.directory / "nginx", cluster.store)
    yield web
    web.stop()


@pytest.fixture(name="proxies")
def make_proxies(web):
    """Two proxies before nginx: what the first one does is up to the test; the second one only counts."""
    with FaultProxy(("127.0.0.1", web.port)) as first, FaultProxy(("127.0.0.1", web.port)) as second:
        yield first, second


def through(proxy, web):
    return lambda path: f"{proxy.url}/{pathlib.Path(path).relative_to(web.root)}"


def publish(cluster, source, *urls):
    """One shard of PIECES pieces, which is at `urls` only; returns the path that nginx serves."""
    cluster.publish(source, "llama@v1", "--piece-size", "1MiB", strategy="raw", shards=1)
    return read_over(cluster.api(), "llama", "v1", urls)[0]


def pull_to_ready(cluster, source, *args, meanwhile=lambda: None):
    """An agent pulls the shard; what its cache shows at the end is the source, byte for byte."""
    cluster.create_assembly("demo", "llama@v1", policy="full")
    agent = cluster.start_agent("n1", "demo", "--connections", CONNECTIONS, *args)
    meanwhile()
    cluster.wait_ready("demo")
    digests = [checkpoints.md5_file(path) for path in cluster.cache("n1").rglob("*") if path.is_file() and path.stat().st_size == SIZE]
    assert digests == [checkpoints.md5_file(source)]
    return agent


def pull_that_fails(cluster, tmp_path, connections=CONNECTIONS):
    """What a user sees when none of the locations is of use; nothing else appears."""
    out = tmp_path / "out"
    result = cluster.muster("pull", "llama@v1", "--out", out, "--connections", connections, check=False)
    assert result.code != 0, str(result)
    assert not any(path.stat().st_size for path in out.rglob("*") if path.is_file()), "bytes are visible"
    return result.stderr


def test_agents_pull_a_model_over_http(cluster, web, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer())
    cluster.publish(source, "llama@v1", shards=4)
    paths = read_over(cluster.api(), "llama", "v1", [web.uri])
    wanted = {checkpoints.md5_file(path) for path in paths}
    cluster.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    cluster.start_agents(2, "demo")

    cluster.wait_ready("demo")

    for node in ("n1", "n2"):
        assert wanted <= {checkpoints.md5_file(path) for path in cluster.cache(node).rglob("*") if path.is_file()}
    assert "verified" in cluster.muster("verify", "llama@v1").text


def test_model_on_a_web_server_is_published_from_there(cluster, web, tmp_path):
    source = checkpoints.write_hugging_face(web.root / "there", checkpoints.transformer(layers=3))
    shutil.rmtree(source / "tokenizer", ignore_errors=True)
    check_publishing_from(cluster, f"{web.url}/there/", source, tmp_path)


def test_model_is_pulled_over_tls_with_the_authority_from_the_environment(cluster, big_file, tmp_path):
    certificate = make_certificate(tmp_path / "server")
    web = WebServer(cluster.directory / "nginx", cluster.store, certificate=certificate)
    try:
        publish(cluster, big_file, web.uri)

        refused = pull_that_fails(cluster, tmp_path)
        pulled = cluster.muster("pull", "llama@v1", "--out", tmp_path / "out", env={"SSL_CERT_FILE": f"{certificate}.pem"})
    finally:
        web.stop()

    assert "certificate is not trusted" in refused and "SSL_CERT_FILE" in refused
    assert "verified" in pulled.text


def half_way(fault):
    """Pieces of the second half suffer."""
    return lambda request: fault if request.first is not None and request.first >= SIZE // 2 else None


FAULTS = {
    "flipped byte in the first piece": lambda request: Flip(at=17),
    "flipped byte in the middle": lambda request: Flip(at=SIZE // 2 + 12345),
    "flipped byte at the end": lambda request: Flip(at=SIZE - 1),
    "closed connections": half_way(Cut(after=0)),
    "cut heads": half_way(Cut(after=30, of_head=True)),
    "stall": half_way(Stall(after=100_000)),
    "too much": half_way(Resize(by=100)),
    "too little": half_way(Resize(by=-100)),
    "storm of 503": half_way(Answer(503, ("Retry-After: 3600",))),
    "redirect loop": half_way(Answer(302, ("Location: /again",))),
    "not found": half_way(Answer(404)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_bad_location_costs_no_more_than_the_pieces_in_flight(cluster, web, proxies, big_file, fault):
    first, second = proxies
    publish(cluster, big_file, through(first, web), through(second, web))
    first.fault = fault

    pull_to_ready(cluster, big_file)

    assert first.body_bytes >= PIECE and second.body_bytes >= PIECE, "both were read from"
    assert first.body_bytes + second.body_bytes <= SIZE + IN_FLIGHT + SECOND_READS


def test_transfers_that_break_off_go_on_where_they_broke(cluster, web, proxies, big_file):
    first, second = proxies
    publish(cluster, big_file, through(first, web), through(second, web))
    first.fault = half_way(Cut(after=300_000))

    pull_to_ready(cluster, big_file)

    assert first.body_bytes + second.body_bytes <= SIZE + SECOND_READS
    assert second.body_bytes <= SECOND_READS


def test_location_that_goes_away_half_way_is_left_for_the_next(cluster, web, proxies, big_file):
    first, second = proxies
    publish(cluster, big_file, through(first, web), through(second, web))
    first.fault = lambda request: Throttle(8 * PIECE)

    def leave():
        eventually(lambda: first.body_bytes > SIZE // 3, "the pull is under way")
        first.close()

    pull_to_ready(cluster, big_file, meanwhile=leave)

    assert second.body_bytes >= SIZE // 3
    assert first.body_bytes + second.body_bytes <= SIZE + IN_FLIGHT + SECOND_READS


def test_object_replaced_in_the_middle_of_a_pull_is_noticed(cluster, web, proxies, big_file):
    """nginx sends the whole of either file; only the pinned ETag distinguishes them before the MD5s do."""
    first, second = proxies
    path = publish(cluster, big_file, through(first, web), through(second, web))
    good = path.with_suffix(".good")
    shutil.copy2(path, good)
    read_good = f"{second.url}/{good.relative_to(web.root)}"
    api = cluster.api()
    version = "models/llama/versions/v1"
    api.models.AddLocations(name=version, entries=[{"shard": 0, "location": {"uri": read_good, "priority": 3}}])
    other = path.with_suffix(".other")
    other.write_bytes(bytes(SIZE))
    os.utime(other, (1, 1))
    first.fault = lambda request: Throttle(PIECE)

    def replace():
        eventually(lambda: first.body_bytes > SIZE // 4, "the pull is under way")
        os.replace(other, path)

    pull_to_ready(cluster, big_file, meanwhile=replace)

    assert any(request.path.endswith(".good") for request in second.requests)
    assert first.body_bytes + second.body_bytes <= SIZE + 2 * IN_FLIGHT + SECOND_READS


def test_truncated_object_is_not_read(cluster, web, proxies, big_file):
    first, second = proxies
    path = publish(cluster, big_file, through(first, web), lambda path: through(second, web)(path) + ".good")
    shutil.copy2(path, f"{path}.good")
    os.chmod(path, 0o644)
    os.truncate(path, SIZE - 1)

    pull_to_ready(cluster, big_file)

    assert first.body_bytes == 0
    assert second.body_bytes == SIZE


@pytest.mark.parametrize(
    "fault, says",
    [
        (Flip(at=5 * PIECE), ["has MD5", "piece 5", "expected"]),
        (Cut(after=0), ["transfer closed", "tried"]),
        (Resize(by=100), ["announces"]),
        (Answer(503, ("Retry-After: 3600",)), ["HTTP 503", "the server failed"]),
        (Answer(429, ("Retry-After: 3600",)), ["HTTP 429", "come back later"]),
        (Answer(302, ("Location: /again",)), ["redirected more than 5 times"]),
        (Answer(302, ("Location: file:///etc/passwd",)), ["redirect"]),
        (Answer(403), ["HTTP 403", "does not allow"]),
        (Answer(401), ["HTTP 401", "login"]),
        (Answer(200, (), b"whole"), ["5 bytes"]),
    ],
    ids=lambda value: value.__class__.__name__ + str(getattr(value, "status", "")) if not isinstance(value, list) else "",
)
def test_only_location_is_bad_and_the_user_is_told_why(cluster, web, proxies, big_file, tmp_path, fault, says):
    first, _second = proxies
    publish(cluster, big_file, through(first, web))
    first.fault = lambda request: fault if request.first is not None else None

    told = pull_that_fails(cluster, tmp_path)

    assert first.url in told, told
    assert all(text in told for text in says), told


def test_nobody_listens_and_the_user_is_told_where(cluster, web, big_file, tmp_path):
    publish(cluster, big_file, web.uri)
    web.stop()

    told = pull_that_fails(cluster, tmp_path, connections=1)

    assert web.url in told and "connect" in told.lower(), told
