"""Lives of model versions: drafts that are resumed, deletions and garbage, with kill -9 in between."""

import pathlib
import random
import time

import pytest
from harness import checkpoints, model_families
from harness.api import ApiError, model_pb2
from harness.conditions import eventually
from harness.dialogue import CTRL_C, Dialogue

NAME = "models/m/versions/v1"


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    """Big enough to be killed in the middle."""
    rng = random.Random(11)
    tensors = [checkpoints.random_tensor(rng, f"model.layers.{i}.mlp.weight", "BF16", [1024, 2048]) for i in range(24)]
    return checkpoints.write_hugging_face(tmp_path_factory.mktemp("source") / "model", tensors, files=3)


def publish_args(cluster, source, *args):
    return ["publish", source, "--model", "m@v1", "--to", f"file://{cluster.store}", "--shards", 12, "--jobs", 1, *args]


def version(api):
    try:
        return api.models.GetModelVersion(name=NAME).model_version
    except ApiError as error:
        assert error.reason == "VERSION_UNKNOWN"
        return None


def files(cluster):
    return sorted(str(path.relative_to(cluster.store)) for path in cluster.store.rglob("*") if path.is_file())


@pytest.fixture(name="draft")
def kill_a_publication(cluster, source):
    """A draft whose publisher was killed when some of its shards were registered and others not."""
    api = cluster.api()
    for attempt in range(10):
        publish = cluster.spawn_muster(f"publish-{attempt}", *publish_args(cluster, source))

        def some_shards():
            found = version(api)
            return found is not None and (found.shards_added > 1 or found.state == model_pb2.ModelVersion.COMMITTED)

        eventually(some_shards, "shards are registered")
        publish.kill()
        found = version(api)
        if found.state == model_pb2.ModelVersion.DRAFT and found.shards_added < 12:
            return found
        cluster.muster("models", "delete", "m@v1", "--with-objects")
    raise AssertionError("the publication was never killed in the middle")


def expect_whole(cluster, source, tmp_path):
    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    expected = {}
    for path in source.glob("*.safetensors"):
        expected.update(checkpoints.open_with_safetensors(path))
    assert checkpoints.open_directory(tmp_path / "out") == expected
    assert checkpoints.companions(tmp_path / "out") == checkpoints.companions(source)


@pytest.mark.limit(300)
def test_killed_publication_is_gone_on_with(cluster, source, draft, tmp_path):
    folder = cluster.store / "m" / f"v1-{draft.uid}"
    stored = {path.name: path.stat().st_ino for path in folder.glob("shard-*")}
    registered = {f"shard-{shard.index:05}.safetensors" for shard in cluster.api().shards("m", "v1")}

    result = cluster.muster(*publish_args(cluster, source)).stdout

    assert f"{len(registered)} of 12 shards were stored already" in result
    found = version(cluster.api())
    assert (found.uid, found.state) == (draft.uid, model_pb2.ModelVersion.COMMITTED)
    # What was registered is the file that was there, and nothing half written is left.
    assert {name: (folder / name).stat().st_ino for name in registered} == {name: stored[name] for name in registered}
    assert len(files(cluster)) == 12 + 3
    expect_whole(cluster, source, tmp_path)


@pytest.mark.limit(300)
def test_publication_that_is_killed_again_and_again_ends_whole(cluster, source, tmp_path):
    rng = random.Random(5)
    for round_number in range(6):
        publish = cluster.spawn_muster(f"publish-{round_number}", *publish_args(cluster, source))
        wanted = rng.randrange(12)
        api = cluster.api()

        def far_enough(wanted=wanted, publish=publish):
            found = version(api)
            return not publish.running() or (found is not None and found.shards_added >= wanted)

        eventually(far_enough, f"{wanted} shards are registered", 60)
        publish.kill()
    cluster.muster(*publish_args(cluster, source), check=False)

    assert version(cluster.api()).state == model_pb2.ModelVersion.COMMITTED
    expect_whole(cluster, source, tmp_path)
    assert len(files(cluster)) == 12 + 3


@pytest.mark.limit(300)
def test_draft_of_other_options_needs_restart(cluster, source, draft, tmp_path):
    other = publish_args(cluster, source, "--strategy", "uniform")
    refused = cluster.muster(*other, check=False)
    assert refused.code == 1
    assert "other options" in refused.stderr
    assert "--restart" in refused.stderr
    assert version(cluster.api()).uid == draft.uid

    cluster.muster(*other, "--restart")

    assert version(cluster.api()).uid != draft.uid
    assert not (cluster.store / "m" / f"v1-{draft.uid}").exists()
    expect_whole(cluster, source, tmp_path)


@pytest.mark.limit(300)
def test_draft_whose_source_changed_is_not_gone_on_with(cluster, source, draft, tmp_path):
    before = files(cluster)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in source.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(source)).write_bytes(path.read_bytes())
    first = sorted(copy.glob("*.safetensors"))[0]
    checkpoints.flip_byte(first, 5000)

    refused = cluster.muster(*publish_args(cluster, copy), check=False)

    assert refused.code == 1
    assert "the source was changed since" in refused.stderr
    assert version(cluster.api()).state == model_pb2.ModelVersion.DRAFT
    assert set(before) - {name for name in before if ".muster-tmp-" in name} <= set(files(cluster))


# --- Ctrl-C


def interrupt(cluster, source):
    """A publication that got Ctrl-C when some of its shards were stored and others not; returns what was said."""
    api = cluster.api()
    for _ in range(10):
        publish = Dialogue(cluster.muster_command(*publish_args(cluster, source)))

        def some_shards():
            found = version(api)
            return found is not None and (found.shards_added > 1 or found.state == model_pb2.ModelVersion.COMMITTED)

        eventually(some_shards, "shards are registered")
        publish.type(CTRL_C)
        code, _ = publish.end()
        if code != 0:
            assert code == 130, publish.said
            return publish.said
        cluster.muster("models", "delete", "m@v1", "--with-objects")
    raise AssertionError("the publication was never interrupted in the middle")


@pytest.mark.limit(300)
def test_ctrl_c_keeps_what_kill_9_keeps_and_says_how_to_go_on(cluster, source, tmp_path):
    said = interrupt(cluster, source)

    assert "the draft m@v1 stays" in said and " of 12 shards" in said and "--clean" in said, said
    draft = version(cluster.api())
    assert draft.state == model_pb2.ModelVersion.DRAFT and draft.shards_added > 1

    result = cluster.muster(*publish_args(cluster, source)).stdout
    assert "resumed an earlier publication" in result
    assert version(cluster.api()).uid == draft.uid
    expect_whole(cluster, source, tmp_path)


@pytest.mark.limit(300)
def test_what_ctrl_c_kept_is_cleaned_on_request(cluster, source):
    interrupt(cluster, source)
    assert files(cluster)

    cleaned = cluster.muster(*publish_args(cluster, source, "--clean"))

    assert "deleted the draft m@v1" in cleaned.stdout
    assert version(cluster.api()) is None and not files(cluster)
    assert "nothing is left" in cluster.muster(*publish_args(cluster, source, "--clean")).stdout
    cluster.muster(*publish_args(cluster, source))
    refused = cluster.muster(*publish_args(cluster, source, "--clean"), check=False)
    assert refused.code == 1 and "COMMITTED" in refused.stderr
    assert len(files(cluster)) == 12 + 3


# --- deletion


@pytest.fixture(name="small")
def publish_small(cluster, tmp_path):
    model_families.llama(tmp_path / "llama")
    cluster.publish(tmp_path / "llama", "m@v1")
    return tmp_path / "llama"


def test_version_in_use_is_not_deleted(cluster, small):
    cluster.create_assembly("demo", "m@v1")

    refused = cluster.muster("models", "delete", "m@v1", "--with-objects", check=False)

    assert refused.code == 1
    assert "demo" in refused.stderr
    assert small.exists()
    cluster.muster("verify", "m@v1")
    cluster.muster("assemblies", "delete", "demo")
    cluster.muster("models", "delete", "m@v1", "--with-objects")
    assert not files(cluster)
    assert not list(cluster.store.iterdir())


def test_deletion_without_objects_leaves_them_and_can_be_completed(cluster, small):
    stored = files(cluster)
    told = cluster.muster("models", "delete", "m@v1")
    assert "--with-objects" in told.stderr
    assert files(cluster) == stored
    # The catalogue knows no destination any more, and nobody but this server made the uid.
    again = cluster.muster("models", "delete", "m@v1", "--with-objects", check=False)
    assert again.code == 1
    cluster.publish(small, "other@v1")

    cluster.muster("models", "delete", "m@v1", "--with-objects")

    assert not (cluster.store / "m").exists()
    cluster.muster("verify", "other@v1")


@pytest.mark.limit(300)
def test_killed_deletions_can_be_repeated(cluster, small):
    cluster.publish(small, "other@v1")
    rng = random.Random(3)
    for round_number in range(8):
        if version(cluster.api()) is None:
            cluster.publish(small, "m@v1", shards=20)
        delete = cluster.spawn_muster(f"delete-{round_number}", "models", "delete", "m@v1", "--with-objects")
        end = time.monotonic() + rng.random() * 0.2
        while delete.running() and time.monotonic() < end:
            pass
        delete.kill()
        cluster.muster("models", "delete", "m@v1", "--with-objects", check=False)
        assert version(cluster.api()) is None
        assert not (cluster.store / "m").exists()
    cluster.muster("verify", "other@v1")


def test_files_registered_in_place_are_never_deleted(cluster, tmp_path):
    source = tmp_path / "llama"
    model_families.llama(source)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    cluster.muster("publish", source, "--model", "m@v1", "--in-place")

    cluster.muster("models", "delete", "m@v1", "--with-objects")
    cluster.muster("models", "gc", "--to", f"file://{tmp_path}", "--older-than", "1ms")

    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


# --- garbage


@pytest.mark.limit(300)
def test_garbage_is_listed_and_collected(cluster, draft, tmp_path):
    small = tmp_path / "llama"
    model_families.llama(small)
    cluster.publish(small, "live@v1")
    cluster.publish(small, "gone@v1")
    cluster.muster("models", "delete", "gone@v1")
    foreign = cluster.store / "m" / "v1-0123456789ab-7"
    foreign.mkdir(parents=True)
    (foreign / "shard-00000.safetensors").write_text("another server's")
    (cluster.store / "notes.txt").write_text("somebody's")
    stored = files(cluster)
    assert cluster.muster("models", "gc", "--dry-run", "--json").json()["items"][0]["what"] == "objects"

    listed = cluster.muster("models", "gc", "--dry-run", "--older-than", "1ms", "--json").json()["items"]

    assert [(one["what"], one["name"]) for one in listed] == [
        ("draft", draft.name), ("objects", "models/gone/versions/v1"), ("objects", "models/m/versions/v1"),
    ]  # fmt: skip
    assert files(cluster) == stored
    cluster.muster("models", "gc", "--older-than", "1ms")
    left = [pathlib.Path(name).parts[0] for name in files(cluster)]
    assert sorted(set(left)) == ["live", "m", "notes.txt"]
    assert (foreign / "shard-00000.safetensors").exists()
    assert version(cluster.api()) is None
    cluster.muster("verify", "live@v1")

    cluster.muster("models", "gc", "--server-id", "0123456789ab")
    assert not foreign.exists()
    assert "nothing is left behind" in cluster.muster("models", "gc").stdout
