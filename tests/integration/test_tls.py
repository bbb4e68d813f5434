"""Calls under TLS, with certificates made by openssl: the loop, what is refused and in which words, renewal under load."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness import checkpoints
from harness.api import model_pb2
from harness.access import CLUSTER, user
from harness.certificates import Authority, credentials, environment
from harness.certificates import server_flags as flags_of_tls
from harness.cluster import binary
from harness.conditions import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a renewed certificate may take until it is shown.
RENEWAL_SECONDS = 5.0


@pytest.fixture(name="authority", scope="module")
def make_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(name="server", scope="module")
def make_server_pair(authority):
    return authority.server()


@pytest.fixture(name="node", scope="module")
def make_node_pair(authority):
    return authority.issue("n1", f"URI:spiffe://{CLUSTER}/node/n1")


@pytest.fixture(name="admin", scope="module")
def make_admin_pair(authority):
    return user(authority, "admin")


def server_flags(pair, authority=None, *more):
    return flags_of_tls(pair, authority, "--cluster-id", CLUSTER, *more)


def shown_serial(address):
    """Of the certificate that the server shows now."""
    host, port = address.rsplit(":", 1)
    pem = ssl.get_server_certificate((host, int(port)))
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip().partition("=")[2].lower()


@pytest.mark.parametrize("client_auth", ["require", "optional"])
def test_loop_under_tls(new_cluster, authority, server, node, admin, client_auth, monkeypatch, tmp_path):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server, authority, "--client-auth", client_auth))
    for name, value in environment(authority, admin).items():
        monkeypatch.setenv(name, value)
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))

    cluster.publish(source, "llama@v1", shards=2)
    cluster.create_assembly("demo", "llama@v1")
    agent = cluster.start_agent("n1", "demo", "--tls-cert", node.certificate, "--tls-key", node.key)
    cluster.wait_ready("demo")
    cluster.muster("assemble", "llama@v1", "--out", tmp_path / "out")

    assert checkpoints.open_directory(tmp_path / "out") == checkpoints.open_with_safetensors(source)
    api = cluster.api(credentials=credentials(authority, admin))
    assert api.is_ready("demo")
    # A restart of the server is nothing that anybody notices.
    cluster.kill_server()
    cluster.start_server()
    eventually(lambda: cluster.muster("status", "demo", "--json").json()["assembly"]["state"] == "READY", "READY again")
    assert agent.running(), agent.output()


@pytest.mark.parametrize(
    ("client_auth", "told"),
    [
        ("none", "anonymous may not read models/**: the call has neither a client certificate nor a token"),
        ("optional", "anonymous may not read models/**: the call has neither a client certificate nor a token"),
        ("require", "--tls-cert and --tls-key name a certificate"),
    ],
)
def test_calls_of_those_who_show_nothing(new_cluster, authority, server, client_auth, told):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server, authority, "--client-auth", client_auth))

    done = cluster.muster("models", env=environment(authority), check=False)

    assert done.code in (1, 4) and told in done.stderr, str(done)


def test_what_is_wrong_with_a_connection_is_said_at_once(new_cluster, authority, server, node, tmp_path):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server, authority))
    # Of the same name, as whoever copies one would have it.
    other = Authority(tmp_path / "other")
    stranger = other.issue("n1", f"URI:spiffe://{CLUSTER}/node/n1")
    over = authority.issue("over", f"URI:spiffe://{CLUSTER}/node/over", days=-1)
    open_key = tmp_path / "open.key"
    shutil.copy(node.key, open_key)
    open_key.chmod(0o644)
    loose = {**environment(authority, node), "MUSTER_TLS_KEY": str(open_key)}
    swapped = {**environment(authority, node), "MUSTER_TLS_KEY": str(over.key)}

    cases = {
        "nothing": ({}, "it speaks TLS only: name its authority with --tls-ca"),
        "the system's authorities": ({"MUSTER_TLS": "1"}, "certificate is not believed"),
        "another authority": (environment(other), "certificate is not believed"),
        "another name": ({**environment(authority), "MUSTER_TLS_SERVER_NAME": "elsewhere"}, "names another server"),
        "a stranger": (environment(authority, stranger), "it refuses this end"),
        "a certificate that is over": (environment(authority, over), f"of spiffe://{CLUSTER}/node/over expired"),
        "a key for everybody": (loose, "`chmod 600` it"),
        "a key of another certificate": (swapped, "is not the private key of the certificate in"),
    }
    for what, (variables, told) in cases.items():
        done = cluster.muster("models", env=variables, check=False, timeout=10)
        assert done.code in (1, 4), f"{what}: {done}"
        assert told in done.stderr, f"{what}: {done}"
        assert "Handshake" not in done.stderr, f"gRPC's own words: {done}"
    # It gets in, and may not do that: no more than a node may.
    assert cluster.muster("models", env=environment(authority, node)).code == 0


def test_server_without_tls_is_named_as_such(cluster, authority):
    done = cluster.muster("models", env=environment(authority), check=False, timeout=10)

    assert done.code == 4 and "it speaks no TLS" in done.stderr, str(done)


def test_older_tls_is_refused(new_cluster, authority, server):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server))
    host, port = cluster.address.rsplit(":", 1)

    def version(newest):
        context = ssl.create_default_context(cafile=authority.certificate)
        context.maximum_version = newest
        context.set_alpn_protocols(["h2"])
        with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(
            plain, server_hostname=host
        ) as encrypted:
            return encrypted.version()

    assert version(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, OSError)):
        version(ssl.TLSVersion.TLSv1_2)


def test_handshakes_that_are_never_ended_keep_nobody_out(new_cluster, authority, server, admin):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server, authority))
    host, port = cluster.address.rsplit(":", 1)
    api = cluster.api(credentials=credentials(authority, admin))
    api.models.ListModelVersions()
    before = cluster.server.resident_bytes()
    half = []
    for _ in range(500):
        half.append(socket.create_connection((host, int(port)), timeout=10))
        # The beginning of a ClientHello that never goes on.
        half[-1].sendall(b"\x16\x03\x01\x02\x00\x01\x00")

    begun = time.monotonic()
    fresh = cluster.api(credentials=credentials(authority, admin))
    fresh.models.ListModelVersions()
    api.models.ListModelVersions()

    assert time.monotonic() - begun < 5
    assert cluster.server.resident_bytes() - before < 200 << 20
    for one in half:
        one.close()


def test_grpcurl_and_health_under_tls(new_cluster, authority, server, admin):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server, authority))
    grpcurl = os.environ.get("GRPCURL", str(ROOT / "build/tools/grpcurl"))

    shown = ["-cert", admin.certificate, "-key", admin.key]

    def call(*arguments):
        done = subprocess.run(
            [grpcurl, "-cacert", authority.certificate, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "muster.v1.ModelService" in call(*shown, cluster.address, "list")
    me = json.loads(call(*shown, cluster.address, "muster.v1.AccessService/WhoAmI"))
    assert me["who"] == "user/admin" and me["grants"] == ["admin on **"]
    # A probe has no certificate, and no descriptors either.
    health = ["-import-path", ROOT / "proto", "-proto", "grpc/health/v1/health.proto"]
    assert json.loads(call(*health, cluster.address, "grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_renewed_certificate_is_in_force_without_a_failed_call(new_cluster, authority, admin):
    cluster = new_cluster()
    used = authority.server("used")
    cluster.start_server(*server_flags(used, authority))
    first = used.serial()
    assert shown_serial(cluster.address) == first
    stop = threading.Event()
    held = cluster.api(credentials=credentials(authority, admin))

    def call_on():
        """Over connections of all ages."""
        calls = 0
        while not stop.is_set():
            fresh = cluster.api(credentials=credentials(authority, admin))
            for api in (held, fresh):
                api.models.ListModelVersions()
            fresh.close()
            calls += 2
        return calls

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as callers:
        calls = [callers.submit(call_on) for _ in range(2)]
        try:
            for renewal in range(3):
                renewed = authority.server(f"renewed-{renewal}")
                # One after the other, as tools do it.
                shutil.copy(renewed.key, used.key)
                shutil.copy(renewed.certificate, used.certificate)
                eventually(lambda: shown_serial(cluster.address) == used.serial(), "the new one is shown", RENEWAL_SECONDS)
        finally:
            stop.set()
        assert all(call.result(timeout=60) > 0 for call in calls)
    log = cluster.server.output()
    assert log.count("tls=loaded") == 4 and "tls=refused" not in log, log


def test_bad_renewal_changes_nothing_and_is_told_once(new_cluster, authority, admin):
    cluster = new_cluster()
    used = authority.server("kept")
    cluster.start_server(*server_flags(used, authority))
    first = used.serial()

    used.certificate.write_text("not a certificate", encoding="ascii")
    eventually(lambda: "tls=refused" in cluster.server.output(), "the bad one is refused")
    held = cluster.api(credentials=credentials(authority, admin))
    for _ in range(3):
        assert shown_serial(cluster.address) == first
        held.models.ListModelVersions()
    assert cluster.server.output().count("tls=refused") == 1

    renewed = authority.server("renewed")
    for source, target in ((renewed.certificate, used.certificate), (renewed.key, used.key)):
        shutil.copy(source, target)
    eventually(lambda: shown_serial(cluster.address) == renewed.serial(), "the good one is shown", RENEWAL_SECONDS)


def run_musterd(tmp_path, *flags):
    return subprocess.run(
        [binary("musterd"), "--data-dir", tmp_path / "data", *map(str, flags)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_plaintext_beyond_loopback_has_to_be_meant(new_cluster, tmp_path, listen):
    done = run_musterd(tmp_path, "--listen", listen)

    assert done.returncode == 4
    assert "is reachable from other machines" in done.stderr and "--insecure" in done.stderr
    cluster = new_cluster()
    cluster.start_server("--insecure", listen=listen)
    port = cluster.address.rsplit(":", 1)[1]
    api = cluster.api(f"127.0.0.1:{port}")
    assert api.models.CreateModelVersion(
        model_version=model_pb2.ModelVersion(name="models/m/versions/v1", shard_count=1)
    ).model_version.uid


def test_server_with_tls_may_listen_anywhere(new_cluster, authority, server, admin):
    cluster = new_cluster()
    cluster.start_server(*server_flags(server, authority), listen="0.0.0.0:0")
    port = cluster.address.rsplit(":", 1)[1]

    assert cluster.muster("models", server=f"127.0.0.1:{port}", env=environment(authority, admin)).code == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--tls-cert", "a.crt"], "--tls-key"),
        (["--tls-key", "a.key"], "--tls-cert"),
        (["--tls-ca", "ca.crt"], "--tls-cert"),
        (["--tls-cert", "a.crt", "--tls-key", "a.key", "--client-auth", "require"], "--tls-ca"),
        (["--tls-cert", "a.crt", "--tls-key", "a.key", "--insecure"], "opposites"),
        (["--client-auth", "sometimes"], "require"),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_usage(tmp_path, flags, told):
    done = run_musterd(tmp_path, *flags)

    assert done.returncode == 2 and told in done.stderr, done.stderr


def test_start_with_files_that_can_not_be_used_is_refused(tmp_path, authority, server, node):
    over = authority.issue("old-server", "DNS:localhost", days=-1)
    for pair, told in (((server.certificate, node.key), "is not the private key"), ((over.certificate, over.key), "expired")):
        done = run_musterd(tmp_path, "--tls-cert", pair[0], "--tls-key", pair[1])
        assert done.returncode == 4 and told in done.stderr, done.stderr
