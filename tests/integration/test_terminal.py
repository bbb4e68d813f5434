"""What a terminal shows while `muster` works, replayed on a screen of 40 and of 120 columns."""

import json
import pathlib
import re
import signal

import pytest
from fault_proxy import FaultProxy, Throttle
from harness.conditions import eventually
from harness.terminal import TerminalCommand
from harness.web_server import WebServer, read_over

INTERRUPTED = 130
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


def test_lists_are_drawn_again_in_place_until_ctrl_c(cluster, tmp_path):
    cluster.muster("sample", "--out", tmp_path / "model.safetensors", "--size", "1MiB")
    cluster.publish(tmp_path / "model.safetensors", "llama@v1", shards=2)
    watching = TerminalCommand(cluster.muster_command("get", "assemblies", "--watch"), 100)
    watching.read_until(lambda command: "no assemblies" in command.written, "it says that there is none")
    cluster.create_assembly("demo", "llama@v1", policy="full")
    watching.read_until(lambda command: "WAITING" in command.written, "what is new is shown")
    watching.signal(signal.SIGINT)
    shown = watching.end()

    assert shown.code == 0, str(shown)
    assert re.search(r"demo +llama@v1 +full +WAITING", shown.screen.text()), str(shown)
    assert "no assemblies" not in shown.screen.text(), str(shown)
    assert all(frame.count("ASSEMBLY") <= 1 for frame in shown.frames), str(shown)


def test_lists_in_pipes_are_printed_when_they_change(cluster, tmp_path):
    cluster.muster("sample", "--out", tmp_path / "model.safetensors", "--size", "1MiB")
    cluster.publish(tmp_path / "model.safetensors", "llama@v1", shards=2)
    models = cluster.spawn_muster("models", "models", "list", "--watch")
    shards = cluster.spawn_muster("shards", "shards", "llama@v1", "-o", "json", "--watch")
    names = cluster.spawn_muster("names", "nodes", "-q", "--watch")
    eventually(lambda: "llama@v1" in models.output(), "the table is there")

    def document():
        text = shards.output()
        assert text.rstrip().endswith("]}"), text
        return json.loads(text[text.index("{") :])

    eventually(lambda: len(document()["items"]) == 2, "the document is there")
    api = cluster.api()
    api.nodes.RegisterNode(node={"name": "nodes/n1"}, lease_ttl={"seconds": 600})
    eventually(lambda: names.output().splitlines() == ["n1"], "the name is there")
    api.nodes.RegisterNode(node={"name": "nodes/n2"}, lease_ttl={"seconds": 600})
    eventually(lambda: names.output().splitlines() == ["n1", "n1", "n2"], "the names are there again")

    # The ages in the table went on meanwhile, which is no change.
    assert models.output().count("MODEL") == 1, models.output()
    # And it is the only one.
    assert len(document()["items"]) == 2
    for process in (models, shards, names):
        process.signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.mark.limit(240)
@pytest.mark.parametrize("columns", [40, 120])
def test_top_shows_rates_until_q(cluster, slow, columns):
    cluster.create_assembly("demo", "llama@v1", policy="full")
    cluster.api().nodes.RegisterNode(node={"name": "nodes/gone"}, lease_ttl={"seconds": 1})
    cluster.start_agent("n1", "demo", "--connections", 1, "--parallel-shards", 1, "--lease-ttl", "2s")
    top = TerminalCommand(cluster.muster_command("top"), columns, env={"NO_COLOR": "1"})
    top.read_until(lambda command: re.search(r"n1 +live .*MiB/s|n1 +live .*KiB/s", command.written), "the node has a rate")
    top.read_until(lambda command: re.search(r"gone +lost", command.written), "who is lost is shown")
    cluster.wait_ready("demo")
    top.read_until(lambda command: re.search(r"demo .*READY +100%", command.written), "the end is shown")
    top.type("xq")
    shown = top.end()

    assert shown.code == 0, str(shown)
    assert all(len(line) < columns for frame in shown.frames for line in frame.splitlines()), str(shown)
    assert re.match(r"1/1 READY, 1/2 nodes live, ", shown.screen.text()), str(shown)
    lines = shown.screen.text().splitlines()
    # The lost one comes first, and "x" was no key and is not shown.
    assert [line.split()[0] for line in lines if re.match("n1|gone", line)] == ["gone", "n1"], str(shown)
    assert ("BYTES" in shown.screen.text()) == (columns == 120), str(shown)


def test_top_once_and_in_pipes_is_printed_once(cluster, tmp_path):
    cluster.muster("sample", "--out", tmp_path / "model.safetensors", "--size", "1MiB")
    cluster.publish(tmp_path / "model.safetensors", "llama@v1", shards=2)
    cluster.create_assembly("demo", "llama@v1", policy="full")
    cluster.start_agent("n1", "demo")
    cluster.wait_ready("demo")
    once = TerminalCommand(cluster.muster_command("top", "--once"), 100).end()
    assert once.code == 0 and len(once.frames) == 1, str(once)
    piped = cluster.muster("top").stdout
    assert re.search(r"demo +llama@v1 +READY +100%", piped) and re.search(r"n1 +live +100%", piped), piped
    shown = cluster.muster("top", "-o", "json").json()
    assert [node["name"] for node in shown["nodes"]] == ["nodes/n1"]
    assert shown["nodes"][0]["there_bytes"] == shown["nodes"][0]["total_bytes"] == shown["assemblies"][0]["total_bytes"]
    # Ctrl-C ends it as q does.
    top = TerminalCommand(cluster.muster_command("top"), 100)
    top.read_until(lambda command: "n1" in command.written, "it is drawn")
    top.signal(signal.SIGINT)
    assert top.end().code == 0


def pulled(directory):
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


@pytest.mark.limit(240)
def test_interrupted_pull_keeps_what_is_whole_until_clean(cluster, slow, tmp_path):
    out = tmp_path / "out"
    words = ["pull", "llama@v1", "--out", out, "--connections", 1]
    cluster.muster(*words, "--shards", 0)
    pull = cluster.spawn_muster("pull", *words)
    # Shard 1 has another name until it is whole.
    eventually(lambda: len(pulled(out)) == 2, "it fetches the other one")
    pull.signal(signal.SIGINT)
    assert pull.wait(60) == INTERRUPTED
    assert "the same command keeps them and gets the rest, and with --clean it deletes them" in pull.output()
    assert pulled(out) == ["shard-00000.safetensors"]
    (out / "shard-00001.safetensors").write_bytes(b"a user's own")
    (out / "notes.txt").write_text("of the user")

    cleaned = cluster.muster("pull", "llama@v1", "--out", out, "--clean")

    assert cleaned.stdout.startswith("removed 1 file, ")
    assert "shard-00001.safetensors stays" in cleaned.stderr
    assert pulled(out) == ["notes.txt", "shard-00001.safetensors"]
    assert cluster.muster("pull", "llama@v1", "--out", out, "--clean", "--json").json() == {"removed": []}


@pytest.mark.limit(240)
def test_second_stop_of_a_pull_removes_what_it_fetched_and_no_more(cluster, slow, tmp_path):
    out = tmp_path / "out"
    words = ["pull", "llama@v1", "--out", out, "--connections", 1]
    cluster.muster(*words, "--shards", 0)
    pull = cluster.spawn_muster("again", *words)
    eventually(lambda: len(pulled(out)) == 2, "it fetches the other one")
    # Both wait for it, so that it gets the second while it ends by the first.
    pull.pause()
    pull.signal(signal.SIGINT)
    pull.signal(signal.SIGTERM)
    pull.resume()

    assert pull.wait(60) == INTERRUPTED
    assert f"what this command had put into {out} is removed" in pull.output()
    assert pulled(out) == ["shard-00000.safetensors"], "it was there before"
