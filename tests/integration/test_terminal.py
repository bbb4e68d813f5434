"""What a terminal shows while `muster` works, replayed on a screen of 40 and of 120 columns."""

import pathlib
import re
import signal

import pytest
from fault_proxy import FaultProxy, Throttle
from harness.terminal import TerminalCommand
from harness.web_server import WebServer, read_over

SIZE = 12 << 20
RATE = 2 << 20


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """The server is on loopback, whatever proxies the machine's environment names."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(name="slow")
def make_slow(cluster, tmp_path):
    """llama@v1 at a location that needs seconds for it, and the URL of a checkpoint of the same size there."""
    cluster.muster("sample", "--out", tmp_path / "model.safetensors", "--size", SIZE)
    cluster.publish(tmp_path / "model.safetensors", "llama@v1", "--piece-size", "1MiB", shards=2)
    web = WebServer(cluster.directory / "nginx", cluster.store)
    (cluster.store / "source.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    with FaultProxy(("127.0.0.1", web.port), lambda request: Throttle(RATE)) as proxy:
        read_over(cluster.api(), "llama", "v1", [lambda path: f"{proxy.url}/{pathlib.Path(path).relative_to(web.root)}"])
        yield f"{proxy.url}/source.safetensors"
    web.stop()


def commands(cluster, slow, tmp_path):
    """With how the results begin."""
    return [
        (["publish", slow, "--model", "again@v1", "--to", cluster.store, "--shards", 2], "publishing", "published again@v1: "),
        (["pull", "llama@v1", "--out", tmp_path / "pulled", "--connections", 2], "pulling", "pulled 2 shards"),
        (["assemble", "llama@v1", "--out", tmp_path / "whole", "--connections", 2], "assembling", "assembled, complete: "),
        (["prefetch", "llama@v1", "--cache", tmp_path / "cache", "--connections", 2], "prefetching", "cached 2 shards"),
        (["verify", "llama@v1"], "verifying", "verified llama@v1: "),
    ]


@pytest.mark.limit(240)
@pytest.mark.parametrize("columns", [40, 120])
def test_progress_is_one_line_that_gives_way_to_the_result(cluster, slow, tmp_path, columns):
    for words, label, result in commands(cluster, slow, tmp_path):
        shown = TerminalCommand(cluster.muster_command(*words), columns).end()

        assert shown.code == 0, str(shown)
        lines = [line for frame in shown.frames for line in frame.splitlines() if line.startswith(label)]
        assert lines and all(len(line) < columns for line in lines), str(shown)
        assert all(frame.count(label) <= 1 for frame in shown.frames), str(shown)
        assert all(re.match(rf"{label} +\d+%", line) for line in lines), str(shown)
        assert any(re.match(rf"{label} 100%", line) for line in lines), str(shown)
        assert any(re.search(r"/s  .* left$", line) for line in lines), str(shown)
        assert label not in shown.screen.text(), str(shown)
        # However the result wraps, it begins its line.
        assert any(line.startswith(result) for line in shown.screen.text().splitlines()), str(shown)


@pytest.mark.limit(240)
def test_nothing_is_drawn_into_a_pipe_or_on_a_dumb_terminal(cluster, slow, tmp_path):
    for words, label, result in commands(cluster, slow, tmp_path / "piped")[1:3]:
        piped = cluster.muster(*words)
        assert piped.stdout.startswith(result)
        assert label not in piped.text and "\r" not in piped.text and "\033" not in piped.text
    for words, label, result in commands(cluster, slow, tmp_path / "dumb")[1:2]:
        shown = TerminalCommand(cluster.muster_command(*words), 80, env={"TERM": "dumb"}).end()
        assert shown.code == 0 and shown.screen.text().startswith(result), str(shown)
        assert label not in shown.written and "\033" not in shown.written


@pytest.mark.limit(240)
@pytest.mark.parametrize("columns", [40, 120])
def test_wait_is_one_line_with_bytes_and_the_slowest_node(cluster, slow, columns):
    cluster.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    waiting = TerminalCommand(cluster.muster_command("wait", "demo", "--timeout", "120s"), columns)
    waiting.read_until(lambda command: "0 of 2 nodes joined" in command.written, "it says what is missing")
    for node in ("n1", "n2"):
        cluster.start_agent(node, "demo", "--connections", 1, "--parallel-shards", 1, "--lease-ttl", "2s")

    shown = waiting.end(120)

    assert shown.code == 0, str(shown)
    assert shown.screen.text().startswith("demo is READY: 2 of 2 shards on 2 nodes"[:columns]), str(shown)
    assert all(len(frame.splitlines()) <= 1 and len(frame) < columns for frame in shown.frames[:-1]), str(shown)
    loading = [frame for frame in shown.frames if re.match(r"demo LOADING +\d+%", frame)]
    assert loading, str(shown)
    if columns == 120:
        assert any("slowest: n" in frame and " MiB of 24." in frame and "left" in frame for frame in loading), str(shown)


def test_status_is_drawn_again_in_place_until_ctrl_c(cluster, tmp_path):
    cluster.muster("sample", "--out", tmp_path / "model.safetensors", "--size", "1MiB")
    cluster.publish(tmp_path / "model.safetensors", "llama@v1", shards=2)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    cluster.start_agent("n1", "demo")
    cluster.wait_ready("demo")
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        watching = TerminalCommand(cluster.muster_command("status", "demo", "--watch"), 100, env=environment)
        watching.read_until(lambda command: command.written.count("ASSEMBLY") >= 2, "it is drawn a second time")
        watching.signal(signal.SIGINT)
        shown = watching.end()

        assert shown.code == 0, str(shown)
        assert all(frame.count("ASSEMBLY") <= 1 for frame in shown.frames), str(shown)
        assert re.search(r"demo +llama@v1 +full +READY", shown.screen.text()), str(shown)
        assert (32 in shown.screen.colours) == coloured, str(shown)
    piped = cluster.muster("status", "demo")
    assert "\033" not in piped.text
