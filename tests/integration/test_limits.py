"""What the system gives musterd only so much of: descriptors, threads, memory. Invariants 1 and 8 (docs/design.md) hold beyond it.

Method: a server under a hard limit (prlimit), and plain sockets that flood it.
"""

import contextlib
import pathlib
import resource
import socket
import struct
import subprocess
import time

import grpc
import pytest
from harness.api import Api, ApiError
from harness.cluster import binary
from harness.conditions import always, cannot_run, eventually

FILES = 256
FLOOD = 316
STORE_LOG_BYTES = 16 << 20
TOO_FEW_THREADS = 7
# The preface of HTTP/2 and an empty SETTINGS: a client that is there, and asks for nothing.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">BHBBL", 0, 0, 4, 0, 0)


@pytest.fixture(autouse=True, scope="module")
def many_sockets():
    """This process holds the other ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    if before[1] < 4_096:
        cannot_run(f"needs 4,096 descriptors; the hard limit is {before[1]}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limited(files):
    return ["prlimit", f"--nofile={files}:{files}"]


@contextlib.contextmanager
def flood(address, count, say=b""):
    """`count` connections; those that the server closes stay counted."""
    host, port = address.rsplit(":", 1)
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            if say:
                with contextlib.suppress(OSError):
                    one.sendall(say)
            sockets.append(one)
        yield sockets


def is_answered(address):
    api = Api(address)
    try:
        return api.nodes.ListNodes(timeout=2) is not None
    except ApiError:
        return False
    finally:
        api.close()


def answers(address, within):
    """A new client's first call, tried until it is answered."""
    begin = time.monotonic()
    eventually(lambda: is_answered(address), "a new client is answered", timeout=within)
    return time.monotonic() - begin


def add_versions(api, name, until_bytes):
    """Versions with large annotations until that much was written; returns how many."""
    count, text = 0, {f"note{i}": "x" * 1000 for i in range(30)}
    while count * 30_000 < until_bytes:
        api.models.CreateModelVersion(model_version={"name": f"models/{name}/versions/v{count}", "shard_count": 1, "annotations": text})
        count += 1
    return count


def descriptors(server):
    return len(list(pathlib.Path(f"/proc/{server.pid}/fd").iterdir()))


def test_silent_connections_keep_nobody_out_and_cost_the_store_nothing(new_cluster):
    cluster = new_cluster()
    cluster.start_server(under=limited(FILES))
    api = cluster.api()
    api.nodes.ListNodes()

    with flood(cluster.address, FLOOD):
        # While they are there.
        answers(cluster.address, within=10)
        versions = add_versions(api, "during", STORE_LOG_BYTES + (2 << 20))
        always(cluster.server.running, "the server runs", seconds=1)
        assert descriptors(cluster.server) < FILES

    answers(cluster.address, within=5)
    cluster.kill_server()
    cluster.start_server(under=limited(FILES))
    assert len(api.paged(api.models.ListModelVersions, "model_versions")) == versions


@pytest.mark.parametrize("files", [FILES, 1024])
def test_connections_that_speak_are_refused_beyond_the_limit_and_the_server_goes_on(new_cluster, files):
    cluster = new_cluster()
    cluster.start_server(under=limited(files))
    api = cluster.api()
    api.nodes.ListNodes()

    with flood(cluster.address, files + 60, say=HELLO):
        eventually(lambda: "connections=refused" in cluster.server.output(), "the log says so")
        add_versions(api, "during", STORE_LOG_BYTES + (2 << 20))
        assert cluster.server.running()
        # Those that are above stay free for the store.
        assert descriptors(cluster.server) < files - files // 4

    took = answers(cluster.address, within=20)
    assert took < 10
    assert cluster.server.terminate()[0] == 0


def test_flood_at_the_usual_limit_is_survived_too(cluster):
    api = cluster.api()
    api.nodes.ListNodes()
    with flood(cluster.address, 2_000):
        answers(cluster.address, within=10)
    answers(cluster.address, within=5)


def test_aged_connections_are_replaced_without_a_failed_call(new_cluster, tmp_path):
    cluster = new_cluster()
    cluster.start_server("--connection-age", "1s", "--lease-ttl", "5s")
    sample = tmp_path / "sample.safetensors"
    cluster.muster("sample", "--out", sample, "--size", "1MiB")
    cluster.publish(sample, "llama@v1", shards=2)
    cluster.create_assembly("demo", "llama@v1", min_nodes=2)
    waits = cluster.spawn_muster("wait", "wait", "demo", "--timeout", "60s")
    agents = [cluster.start_agent("n1", "demo")]
    api = cluster.api()
    end = time.monotonic() + 8
    while time.monotonic() < end:
        api.nodes.ListNodes()
        api.assembly("demo")
    agents.append(cluster.start_agent("n2", "demo"))

    assert waits.wait(60) == 0, waits.output()
    assert all(agent.running() for agent in agents)
    events = api.paged(api.events.ListEvents, "events")
    assert not [event for event in events if "lost" in event.message], events


@pytest.mark.parametrize("mebibytes", [200, 300, 400, 600, 800])
def test_threads_that_cannot_be_had_are_said(new_cluster, mebibytes):
    """Each thread takes 8 MiB of address space for its stack."""
    cluster = new_cluster()
    server = cluster.start_server(under=["prlimit", f"--as={mebibytes << 20}"], wait=False)

    def decided():
        return not server.running() or "serving address=" in server.output()

    eventually(decided, "the server serves or ends")
    if server.running():
        address = (cluster.directory / "address").read_text().strip()
        # Memory that a call needs may be missing, too.
        eventually(lambda: not server.running() or is_answered(address), "a client is answered, or the server ends")
    if server.running():
        return
    assert server.exit_code == TOO_FEW_THREADS, server.output()
    assert "raise the limit" in server.output()


def test_too_few_threads_are_said(tmp_path):
    done = subprocess.run(
        ["prlimit", f"--as={180 << 20}", binary("musterd"), "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == TOO_FEW_THREADS, done.stderr
    assert "threads" in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was opened"


def test_reflection_has_a_bounded_number_of_threads(cluster):
    """Reflection takes a thread a call: open ones must not take them all."""
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    channel = grpc.insecure_channel(cluster.address)
    before = len(list(pathlib.Path(f"/proc/{cluster.server.pid}/task").iterdir()))

    def silence():
        yield b"\x3a\x00"
        time.sleep(5)

    calls = [channel.stream_stream(reflection)(silence()) for _ in range(60)]
    answers(cluster.address, within=10)
    always(
        lambda: len(list(pathlib.Path(f"/proc/{cluster.server.pid}/task").iterdir())) < before + 16,
        "there are few more threads",
        seconds=1,
    )
    for call in calls:
        call.cancel()
    channel.close()
