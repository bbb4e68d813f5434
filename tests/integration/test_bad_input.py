"""What bad input gets: an error that names the thing, a documented exit code, and nothing half-done."""

import os
import pathlib
import shutil
import socket
import subprocess

import pytest
from harness import checkpoints, hostile
from harness.api import ApiError
from harness.caches import entries
from harness.cluster import free_port
from harness.conditions import always, eventually
from harness.terminal import TerminalCommand

FAILED, USAGE, TIMED_OUT, UNREACHABLE, FENCED = 1, 2, 3, 4, 5
BAD_DATA_DIR, BAD_LISTEN, STORE_FAILED = 3, 4, 5
HOSTILE = hostile.files()
MIB = 1 << 20


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=2))


@pytest.fixture(name="published")
def publish(cluster, source):
    cluster.publish(source, "llama@v1", shards=3)
    return cluster


def assert_nothing_published(cluster, model="bad"):
    listed = cluster.api().models.ListModelVersions(model=model).model_versions
    assert not listed, f"left in the catalogue: {listed}"
    left = [path for path in cluster.store.rglob("*") if path.is_file()] if cluster.store.exists() else []
    assert not left, f"left in the store: {left}"


# --- checkpoints


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_safetensors_is_refused_by_name(cluster, tmp_path, name):
    source = tmp_path / f"{name}.safetensors"
    source.write_bytes(HOSTILE[name])

    result = cluster.publish(source, "bad@v1", shards=1, check=False)

    assert result.code == FAILED, result
    assert source.name in result.stderr, result
    assert_nothing_published(cluster)


def test_index_that_names_a_missing_file_is_refused(cluster, tmp_path):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=1))
    (source / "model-00002-of-00002.safetensors").unlink()

    result = cluster.publish(source, "bad@v1", check=False)

    assert result.code == FAILED
    assert "model-00002-of-00002.safetensors" in result.stderr
    assert_nothing_published(cluster)


def test_metadata_key_with_two_values_is_refused_naming_both(cluster, tmp_path):
    source = tmp_path / "llama"
    checkpoints.write_hugging_face(source, checkpoints.transformer(layers=1))
    tensors = checkpoints.transformer(layers=1)
    half = -(-len(tensors) // 2)
    checkpoints.write_safetensors(source / "model-00002-of-00002.safetensors", tensors[half:], {"format": "flax"})

    result = cluster.publish(source, "bad@v1", check=False)

    assert result.code == FAILED
    assert "format" in result.stderr and "flax" in result.stderr and "pt" in result.stderr
    assert_nothing_published(cluster)


def test_unknown_dtype_is_copied_with_a_warning_and_refused_when_strict(cluster, tmp_path):
    tensors = [checkpoints.Tensor("a", "F32", [4], bytes(16)), checkpoints.Tensor("b", "Q7_ODD", [3], bytes(range(24)))]
    source = checkpoints.write_safetensors(tmp_path / "odd.safetensors", tensors)

    strict = cluster.publish(source, "bad@v1", "--strict", shards=1, check=False)
    assert strict.code == FAILED
    assert "Q7_ODD" in strict.stderr
    assert_nothing_published(cluster)

    lenient = cluster.publish(source, "bad@v1", shards=1)
    assert "Q7_ODD" in lenient.stderr
    cluster.muster("assemble", "bad@v1", "--out", tmp_path / "out")
    assembled = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.safetensors"))
    assert tensors[1].data in assembled


def test_missing_source_is_refused(cluster, tmp_path):
    result = cluster.publish(tmp_path / "nowhere.safetensors", "bad@v1", check=False)

    assert result.code == FAILED
    assert "nowhere.safetensors" in result.stderr
    assert_nothing_published(cluster)


def test_more_shards_than_tensors_is_refused_with_the_count_that_is_possible(cluster, tmp_path):
    tensors = [checkpoints.Tensor(f"t{i}", "F32", [4], bytes(16)) for i in range(3)]
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", tensors)

    result = cluster.publish(source, "bad@v1", shards=10, check=False)

    assert result.code == FAILED
    assert "3" in result.stderr and "10" in result.stderr
    assert_nothing_published(cluster)


# --- the catalogue


def test_commit_with_shards_missing_lists_them(cluster):
    api = cluster.api().models
    api.CreateModelVersion(model_version={"name": "models/m/versions/v1", "shard_count": 8})
    api.AddShards(
        name="models/m/versions/v1",
        shards=[{"index": i, "size_bytes": 1, "md5": "0" * 32, "locations": [{"uri": "file:///x"}]} for i in (0, 2, 6)],
    )

    with pytest.raises(ApiError) as caught:
        api.CommitModelVersion(name="models/m/versions/v1")

    assert caught.value.code.name == "FAILED_PRECONDITION"
    assert caught.value.reason == "VERSION_INCOMPLETE"
    assert caught.value.metadata["missing_shards"] == "1,3-5,7"


def test_publishing_over_a_committed_version_is_refused_and_changes_nothing(published, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in published.store.rglob("*") if path.is_file()}
    other = checkpoints.write_safetensors(tmp_path / "other.safetensors", checkpoints.transformer(layers=1, seed=9))

    result = published.publish(other, "llama@v1", shards=2, check=False)

    assert result.code == FAILED
    assert "llama@v1" in result.stderr or "models/llama/versions/v1" in result.stderr
    assert "COMMITTED" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in published.store.rglob("*") if path.is_file()} == before


def test_unknown_model_is_refused_by_every_command(cluster, tmp_path):
    for words in (
        ["assemble", "none@v1", "--out", tmp_path / "out"],
        ["pull", "none@v1", "--out", tmp_path / "out"],
        ["verify", "none@v1"],
        ["shards", "none@v1"],
        ["assemblies", "create", "demo", "--model", "none@v1", "--policy", "full"],
    ):
        result = cluster.muster(*words, check=False)
        assert result.code == FAILED, result
        assert "none" in result.stderr, result
    assert not (tmp_path / "out").exists()


def test_agent_that_joins_an_unknown_model_or_assembly_ends(cluster):
    model = cluster.start_agent("n1", "demo", "--model", "none@v1", "--policy", "full")
    assembly = cluster.start_agent("n2", "absent")

    assert model.wait(20) == FAILED
    assert "none" in model.output()
    assert assembly.wait(20) == FAILED
    assert "absent" in assembly.output()


def test_assembly_of_a_draft_is_refused(cluster):
    cluster.api().models.CreateModelVersion(model_version={"name": "models/m/versions/v1", "shard_count": 8})

    result = cluster.create_assembly("demo", "m@v1", check=False)

    assert result.code == FAILED
    assert "commit" in result.stderr.lower() or "DRAFT" in result.stderr


def test_claim_of_a_shard_that_does_not_exist_is_refused(published):
    published.create_assembly("demo", "llama@v1", policy="declared")

    agent = published.start_agent("n1", "demo", "--claim", "0,7")

    assert agent.wait(20) == FAILED
    assert "7" in agent.output()
    assert published.api().assembly("demo").nodes_joined == 0


@pytest.mark.parametrize("name", ["-x@v1", "a b@v1", "a/b@v1", "@v1", "x", "x@", "x@v1@v2", "a" * 64 + "@v1", "ä@v1", "..@v1"])
def test_model_names_outside_the_rule_are_refused(cluster, source, name):
    result = cluster.publish(source, name, check=False)

    assert result.code in (FAILED, USAGE), result
    assert result.stderr.strip()
    assert_nothing_published(cluster, model="")


@pytest.mark.parametrize("name", ["n_1/x", "", "n 1", "-n1", "n" * 254])
def test_node_names_outside_the_rule_are_refused(published, name):
    published.create_assembly("demo", "llama@v1")

    agent = published.start_agent(name, "demo", cache=published.directory / "cache", name="agent-bad-name")

    assert agent.wait(20) in (FAILED, USAGE)
    assert not published.api().nodes.ListNodes().nodes


# --- two of one kind


def test_agent_that_takes_the_name_over_stops_the_older_one(published):
    published.create_assembly("demo", "llama@v1")
    older = published.start_agent("n1", "demo")
    published.wait_ready("demo")

    other = published.directory / "cache-other"
    newer = published.start_agent("n1", "demo", "--take-over", cache=other, name="agent-newer")

    assert older.wait(30) == FENCED
    assert "n1" in older.output()
    published.wait_ready("demo")
    always(newer.running, "the newer agent runs", 0.5)


def test_two_agents_share_one_cache(published):
    cache = published.directory / "shared"
    published.create_assembly("demo", "llama@v1", policy="full", min_nodes=2)
    agents = [published.start_agent(node, "demo", cache=cache) for node in ("n1", "n2")]

    published.wait_ready("demo")

    digests = sorted(shard.md5 for shard in published.api().shards("llama", "v1"))
    assert sorted(checkpoints.md5_file(path) for path in entries(cache)) == digests
    assert all(agent.running() for agent in agents)


def test_cache_that_holds_other_files_is_refused_and_left_alone(published):
    published.create_assembly("demo", "llama@v1")
    cache = published.directory / "precious"
    cache.mkdir()
    (cache / "thesis.txt").write_text("years of work")

    agent = published.start_agent("n1", "demo", cache=cache)

    assert agent.wait(20) == FAILED
    assert "precious" in agent.output()
    assert [path.name for path in cache.iterdir()] == ["thesis.txt"]


# --- calls


def test_stale_epoch_is_told_and_changes_nothing(published):
    api = published.api()
    published.create_assembly("demo", "llama@v1")
    old = api.nodes.RegisterNode(node={"name": "nodes/n1"}, lease_ttl={"seconds": 600}).epoch
    current = api.nodes.RegisterNode(node={"name": "nodes/n1"}, lease_ttl={"seconds": 600}).epoch
    api.assemblies.JoinAssembly(name="assemblies/demo", node="nodes/n1", epoch=current, claim={"kind": "ANY"})
    calls = [
        lambda: api.nodes.Heartbeat(name="nodes/n1", epoch=old),
        lambda: api.nodes.DeregisterNode(name="nodes/n1", epoch=old),
        lambda: api.assemblies.JoinAssembly(
            name="assemblies/demo", node="nodes/n1", epoch=old, claim={"kind": "ANY"}
        ),
        lambda: api.assemblies.ReportShards(
            node="nodes/n1", epoch=old, assembly="assemblies/demo",
            reports=[{"shard": 0, "generation": 1, "state": "READY"}],
        ),
        lambda: api.assemblies.LeaveAssembly(name="assemblies/demo", node="nodes/n1", epoch=old),
    ]  # fmt: skip

    for call in calls:
        with pytest.raises(ApiError) as caught:
            call()
        assert caught.value.code.name == "ABORTED", str(caught.value)
        assert caught.value.reason == "NODE_FENCED"
        assert str(old) in caught.value.message and str(current) in caught.value.message
    assert current > old
    assert api.nodes.GetNode(name="nodes/n1").node.epoch == current
    assert api.assembly("demo").nodes_joined == 1
    assert api.assembly("demo").shards_ready == 0


def test_missing_epoch_is_not_taken_for_zero(published):
    with pytest.raises(ApiError) as caught:
        published.api().nodes.Heartbeat(name="nodes/n1")

    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.metadata["field"] == "epoch"


def test_wrong_page_tokens_are_refused(cluster):
    api = cluster.api()
    for name in ("n1", "n2", "n3"):
        api.nodes.RegisterNode(node={"name": f"nodes/{name}"})
    token = api.nodes.ListNodes(page_size=1).next_page_token
    assert token

    for bad in ("nonsense", token[:-2], token + "AA", "\x00", "A" * 10_000):
        with pytest.raises(ApiError) as caught:
            api.nodes.ListNodes(page_size=1, page_token=bad)
        assert (caught.value.code.name, caught.value.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"), bad
    with pytest.raises(ApiError) as caught:
        api.models.ListModelVersions(page_size=1, page_token=token)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


def test_request_over_the_message_limit_is_refused_and_the_server_goes_on(cluster):
    api = cluster.api()
    with pytest.raises(ApiError) as caught:
        api.models.CreateModelVersion(
            model_version={"name": "models/m/versions/v1", "shard_count": 1, "annotations": {"a": "x" * (5 * MIB)}}
        )

    assert caught.value.code.name == "RESOURCE_EXHAUSTED"
    assert not api.models.ListModelVersions().model_versions


# --- disks


def test_disk_full_during_publish_leaves_nothing(cluster, small_disk, tmp_path):
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=8))
    disk = small_disk("store-disk", 4)
    cluster.store = disk / "store"

    result = cluster.publish(source, "bad@v1", "--piece-size", "1MiB", check=False)

    assert result.code == FAILED
    assert str(disk) in result.stderr
    assert "space" in result.stderr.lower()
    assert_nothing_published(cluster)


def test_disk_full_during_pull_is_reported_and_nothing_wrong_is_visible(published, small_disk):
    disk = small_disk("cache-disk", 2)
    published.create_assembly("demo", "llama@v1", policy="full")
    api = published.api()
    agent = published.start_agent("n1", "demo", cache=disk / "cache")

    def failure():
        for shard in range(3):
            for replica in api.assemblies.GetShardStatus(name="assemblies/demo", shard=shard).replicas:
                if replica.state == 4:
                    return replica.failure
        return None

    found = eventually(failure, "the agent reports FAILED")
    assert found.code == found.NO_SPACE, found
    assert agent.running()
    waiting = published.wait_ready("demo", timeout=1, check=False)
    assert waiting.code == TIMED_OUT
    assert "n1" in waiting.text
    digests = {shard.md5 for shard in api.shards("llama", "v1")}
    for path in entries(disk / "cache"):
        assert checkpoints.md5_file(path) in digests


def test_disk_full_during_assemble_leaves_nothing(published, small_disk):
    disk = small_disk("out-disk", 2)

    result = published.muster("assemble", "llama@v1", "--out", disk / "out", check=False)

    assert result.code == FAILED
    assert str(disk) in result.stderr
    assert not list(disk.iterdir())


def test_floor_of_free_space_refuses_what_adds_data_and_serves_the_rest(new_cluster, small_disk):
    cluster = new_cluster()
    disk = small_disk("data-disk", 16)
    cluster.data_dir = disk / "data"
    cluster.start_server("--min-free", "4MiB")
    api = cluster.api()
    epoch = api.nodes.RegisterNode(node={"name": "nodes/n1"}, lease_ttl={"seconds": 600}).epoch
    api.models.CreateModelVersion(model_version={"name": "models/m/versions/v1", "shard_count": 1})
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    filler.write_bytes(bytes(free - 3 * MIB))

    def refused():
        try:
            api.models.CreateModelVersion(model_version={"name": "models/m/versions/v2", "shard_count": 1}, validate_only=True)
            api.models.CreateModelVersion(model_version={"name": "models/m/versions/v2", "shard_count": 1})
            api.models.DeleteModelVersion(name="models/m/versions/v2")
        except ApiError as error:
            return error
        return None

    error = eventually(refused, "calls that add data are refused")
    assert (error.code.name, error.reason) == ("RESOURCE_EXHAUSTED", "STORE_FULL"), str(error)
    assert api.nodes.Heartbeat(name="nodes/n1", epoch=epoch).revision > 0
    assert api.models.GetModelVersion(name="models/m/versions/v1")
    api.models.DeleteModelVersion(name="models/m/versions/v1")

    filler.unlink()
    created = eventually(lambda: refused() is None, "calls are served again once there is room")
    assert created


def test_store_that_fills_up_ends_the_server_and_loses_nothing_acknowledged(new_cluster, small_disk):
    """Invariant 8 (docs/design.md): below the floor nothing guards the store, so a write fails, and the server stops."""
    cluster = new_cluster()
    disk = small_disk("data-disk", 12)
    cluster.data_dir = disk / "data"
    cluster.start_server("--min-free", "0")
    api = cluster.api()
    acknowledged = []
    try:
        for number in range(10_000):
            name = f"models/m/versions/v{number}"
            api.models.CreateModelVersion(
                model_version={"name": name, "shard_count": 1, "annotations": {"note": os.urandom(15_000).hex()}}
            )
            acknowledged.append(name)
    except ApiError as error:
        refusal = error
    else:
        pytest.fail("the disk never filled up")

    if refusal.reason != "STORE_FULL":
        assert cluster.server.wait(10) == STORE_FAILED
        assert "No space left" in cluster.server.output() or "space" in cluster.server.output()
    cluster.server.kill()
    bigger = cluster.directory / "bigger"
    shutil.copytree(cluster.data_dir, bigger)
    cluster.start_server(data_dir=bigger)
    found = {one.name for one in api.paged(api.models.ListModelVersions, "model_versions")}
    assert set(acknowledged) <= found
    assert len(acknowledged) > 10


# --- starting the server


def last_line(server):
    return server.output().splitlines()[-1]


def test_port_in_use_is_told(new_cluster):
    cluster = new_cluster()
    port = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        server = cluster.start_server(listen=f"127.0.0.1:{port}", wait=False)
        code = server.wait(20)

    assert code == BAD_LISTEN
    assert last_line(server).startswith(f"musterd: can't serve: can't listen on 127.0.0.1:{port} (Address already in use)")


def test_second_server_on_one_port_is_told(cluster):
    other = cluster.spawn(
        "second",
        [cluster.server.command[0], "--data-dir", cluster.directory / "other", "--listen", cluster.address],
    )

    assert other.wait(20) == BAD_LISTEN
    assert cluster.address in other.output()
    assert cluster.muster("models").code == 0


def test_data_directory_in_use_is_told(cluster):
    other = cluster.spawn(
        "second", [cluster.server.command[0], "--data-dir", cluster.data_dir, "--listen", "127.0.0.1:0"]
    )

    assert other.wait(20) == BAD_DATA_DIR
    assert last_line(other) == (
        f'musterd: the data directory can\'t be opened: data directory "{cluster.data_dir}" is in use by another process; '
        "stop that one, or use another directory"
    )
    # For who collects logs.
    assert 'fatal what="the data directory can\'t be opened" code=FAILED_PRECONDITION' in other.output()
    assert cluster.muster("models").code == 0


def test_data_directory_of_another_cluster_is_refused(new_cluster):
    cluster = new_cluster()
    cluster.start_server("--cluster-id", "blue")
    cluster.server.terminate()

    refused = cluster.start_server("--cluster-id", "green", wait=False)

    assert refused.wait(20) == BAD_DATA_DIR
    assert "blue" in refused.output() and "green" in refused.output()
    cluster.start_server("--cluster-id", "blue")


def test_data_directory_with_other_files_or_none_at_all_is_refused(new_cluster):
    cluster = new_cluster()
    file = cluster.directory / "file"
    file.write_text("no directory")

    refused = cluster.start_server(data_dir=file, wait=False)

    assert refused.wait(20) == BAD_DATA_DIR
    assert last_line(refused).startswith("musterd: the data directory can't be opened: ")
    assert f'"{file}" is not a directory; use another path' in last_line(refused)
    assert file.read_text() == "no directory"


# A person gets a sentence, and no line of the log.
def test_start_that_fails_at_a_terminal_is_one_sentence(cluster, tmp_path):
    musterd = cluster.server.command[0]
    cases = [
        (["--data-dir", cluster.data_dir], BAD_DATA_DIR, "is in use by another process"),
        (["--data-dir", tmp_path / "a", "--listen", cluster.address], BAD_LISTEN, "Address already in use"),
        (["--data-dir", tmp_path / "b", "--tls-cert", tmp_path / "no.crt", "--tls-key", tmp_path / "no.key"], BAD_LISTEN,
         "the certificate can't be used: "),
        (["--data-dir", tmp_path / "c", "--listen", "127.0.0.1:0", "--address-file", tmp_path / "no" / "file"], BAD_LISTEN,
         "can't write the address file: "),
    ]  # fmt: skip
    for words, code, told in cases:
        shown = TerminalCommand([musterd, *words], 400).end()
        assert shown.code == code, str(shown)
        assert len(shown.screen.text().splitlines()) == 1 and shown.screen.text().startswith("musterd: "), str(shown)
        assert told in shown.screen.text(), str(shown)


def test_mistakes_in_the_flags_of_the_server_are_sentences(cluster, tmp_path):
    musterd = cluster.server.command[0]
    for words, told in (
        (["--listen", "127.0.0.1:0"], "--data-dir is required"),
        (["--data-dir", tmp_path, "--lisen", "h:1"], 'it does not know the option "--lisen"'),
        (["--data-dir"], "--data-dir"),
    ):
        done = subprocess.run([musterd, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == USAGE and done.stdout == ""
        assert done.stderr.startswith(f"musterd: {told}"), done.stderr
        assert "hint: `musterd --help`" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-flag"],
        ["--lease-ttl", "0"],
        ["--lease-ttl", "300ms"],
        ["--move-grace", "2 years"],
        ["--queue-limit", "none"],
        ["--min-free", "-1"],
        ["--log-level", "loud"],
    ],
)
def test_wrong_flags_of_the_server_are_wrong_usage(new_cluster, words):
    cluster = new_cluster()
    server = cluster.start_server(*words, wait=False)

    assert server.wait(20) == USAGE
    assert words[0] in server.output()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:-1", ":7070", "203.0.113.7:7070"])
def test_addresses_that_cannot_be_listened_on_are_told(new_cluster, address):
    cluster = new_cluster()
    server = cluster.start_server(listen=address, wait=False)

    assert server.wait(20) in (BAD_LISTEN, USAGE)
    assert address in server.output()


# --- the server away


def test_unreachable_server_is_told_by_every_command(new_cluster, source, tmp_path):
    cluster = new_cluster()
    address = f"127.0.0.1:{free_port()}"
    for words in (
        ["models"],
        ["nodes"],
        ["status"],
        ["publish", source, "--model", "llama@v1", "--to", f"file://{cluster.store}"],
        ["pull", "llama@v1", "--out", tmp_path / "out"],
        ["assemble", "llama@v1", "--out", tmp_path / "out"],
    ):
        result = cluster.muster(*words, "--timeout", "1s", server=address, check=False)
        assert result.code == UNREACHABLE, result
        assert address in result.stderr, result
    wait = cluster.muster("wait", "demo", "--timeout", "1s", server=address, check=False)
    assert wait.code in (TIMED_OUT, UNREACHABLE)
    assert address in wait.stderr
    agent = cluster.start_agent("n1", "demo", "--timeout", "1s", server=address)
    assert agent.wait(20) == UNREACHABLE
    assert address in agent.output()
    assert not cluster.store.exists() or not list(cluster.store.rglob("*.*"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["no-such-command"],
        ["publish"],
        ["publish", "x", "--model", "m@v1", "--to", "file:///tmp/x", "--strategy", "odd"],
        ["wait", "demo", "--timeout", "soon"],
        ["pull", "m@v1", "--out", "x", "--shards", "3-1"],
        ["agent", "--node", "n1"],
        ["sample", "--out", "x", "--size", "much"],
    ],
)
def test_wrong_usage_of_the_command_is_told(cluster, words):
    result = cluster.muster(*words, check=False)

    assert result.code == USAGE, result
    assert result.stderr.strip()


def test_unknown_scheme_of_the_store_is_refused(cluster, source):
    result = cluster.muster(
        "publish", source, "--model", "bad@v1", "--to", "gopher://host/dir", "--shards", "2", check=False
    )

    assert result.code in (FAILED, USAGE)
    assert "gopher" in result.stderr
    assert_nothing_published(cluster)


def test_assemble_into_a_directory_with_files_is_refused(published, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "keep.txt").write_text("keep")

    result = published.muster("assemble", "llama@v1", "--out", out, check=False)

    assert result.code == FAILED
    assert str(out) in result.stderr
    assert [path.name for path in pathlib.Path(out).iterdir()] == ["keep.txt"]
