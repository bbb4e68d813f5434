"""Model directories as users have them: inspected, published, and assembled to what an engine opens."""

import os
import random

import pytest
from harness import checkpoints, model_families
from harness.conditions import eventually
from harness.engines import expect_assembled, open_as_transformers, open_component


def inspect(cluster, source, *args):
    """Needs no server."""
    return cluster.muster("inspect", source, "--json", *args, server="127.0.0.1:1").json()


def error_of(result):
    assert result.code != 0, str(result)
    return result.stderr


def expect_nothing_left(cluster, api):
    assert not list(api.models.ListModelVersions().model_versions)
    assert not [path for path in cluster.store.rglob("*") if path.is_file()]


@pytest.mark.parametrize("family", model_families.FAMILIES)
def test_family_comes_back_as_engines_open_it(cluster, tmp_path, family):
    source = tmp_path / family
    components = model_families.FAMILIES[family](source)
    seen = inspect(cluster, source, "--shards", 6)
    tensor_count = sum(len(tensors) for tensors in components.values())
    assert {one["folder"]: one["tensors"] for one in seen["components"]} == {
        folder: len(tensors) for folder, tensors in components.items()
    }

    cluster.publish(source, "m@v1", shards=6)

    api = cluster.api()
    version = api.models.GetModelVersion(name="models/m/versions/v1").model_version
    layer = next(one for one in seen["strategies"] if one["strategy"] == "layer")
    assert [shard["size_bytes"] for shard in layer["shards"]] == [shard.size_bytes for shard in api.shards("m", "v1")]
    assert (version.tensor_count, version.companion_count) == (tensor_count, len(seen["companions"]))
    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    expect_assembled(tmp_path / "out", components)
    for companion in seen["companions"]:
        assert (tmp_path / "out" / companion["path"]).read_bytes() == (source / companion["path"]).read_bytes()
    cluster.muster("verify", "m@v1", "--dir", tmp_path / "out")


@pytest.mark.parametrize("family", model_families.FAMILIES)
def test_view_of_a_family_is_what_engines_open(cluster, tmp_path, family):
    components = model_families.FAMILIES[family](tmp_path / family)
    cluster.publish(tmp_path / family, "family@v1", shards=6)
    cluster.create_assembly("demo", "family@v1", policy="full")
    view = tmp_path / "view"
    cluster.start_agent("n1", "demo", "--view", view)
    eventually(view.exists, "the view is there")

    expect_assembled(view.resolve(), components)
    for folder, tensors in components.items():
        for index in (view / folder).glob("*.safetensors.index.json"):
            assert open_as_transformers(view / folder, index) == checkpoints.as_dict(tensors)
    listed = cluster.muster("view", "list", view, "--json").json()
    assert [one["state"] for one in listed["items"]] == ["whole"], listed


def test_what_is_left_out_is_told_with_the_reason(cluster, tmp_path):
    model_families.llama(tmp_path / "llama")
    model_families.mixtral(tmp_path / "mixtral")

    seen = inspect(cluster, tmp_path / "llama")
    left = {one["name"]: one["why_not"] for one in seen["sets"] if not one["published"]}
    assert left == {"*.pth": "of another format than safetensors; --include takes it"}
    assert [one["path"] for one in seen["left_out"]] == [".cache/", ".git/"]
    # Files beside the left out weights are companions all the same.
    assert "original/params.json" in [one["path"] for one in seen["companions"]]

    text = cluster.publish(tmp_path / "mixtral", "m@v1").stderr
    assert "left out: consolidated*.safetensors" in text
    assert "left out: pytorch_model*.bin" in text


@pytest.mark.parametrize("encode", [[], ["--encode", "zstd"]])
def test_one_file_that_nothing_asks_to_cut_keeps_its_hash(cluster, tmp_path, encode):
    (tmp_path / "hub").mkdir()
    source = checkpoints.write_safetensors(tmp_path / "hub" / "model.safetensors", checkpoints.transformer(), {"format": "pt"})
    (tmp_path / "hub" / "config.json").write_text("{}")
    words = ["--to", f"file://{cluster.store}", *encode]
    cluster.muster("publish", source.parent, "--model", "m@v1", *words)

    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    assert checkpoints.md5_file(tmp_path / "out" / "model.safetensors") == checkpoints.md5_file(source)
    assert checkpoints.open_directory(tmp_path / "out") == checkpoints.open_directory(source.parent)
    cluster.create_assembly("demo", "m@v1", policy="full")
    cluster.start_agent("n1", "demo", "--view", tmp_path / "view")
    eventually((tmp_path / "view").exists, "the view is there")
    assert checkpoints.md5_file(tmp_path / "view" / "model.safetensors") == checkpoints.md5_file(source)

    # A file of another name comes back under the name that engines look for.
    renamed = source.rename(tmp_path / "named.safetensors")
    cluster.muster("publish", renamed, "--model", "n@v1", *words)
    cluster.muster("assemble", "n@v1", "--out", tmp_path / "renamed")
    assert checkpoints.md5_file(tmp_path / "renamed" / "model.safetensors") == checkpoints.md5_file(renamed)


def test_half_a_model_and_empty_folders_are_told(cluster, tmp_path):
    source = tmp_path / "bert"
    source.mkdir()
    checkpoints.write_safetensors(source / "model.safetensors", checkpoints.transformer())
    (source / "openvino").mkdir()
    (source / "openvino" / "openvino_model.xml").write_text("<net/>")
    (source / "openvino" / "openvino_model.bin").write_bytes(b"weights")
    (source / "2_Normalize").mkdir()

    text = cluster.publish(source, "m@v1").stderr

    assert 'left out: openvino/openvino_model.xml: of no use without "openvino/openvino_model.bin"' in text
    assert "left out: 2_Normalize/: an empty folder" in text
    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "openvino").exists()


def test_include_and_exclude_decide_otherwise(cluster, tmp_path):
    components = model_families.diffusers(tmp_path / "sdxl")

    chosen = ["--include", "unet/*.safetensors", "--exclude", "*/scheduler*", "--exclude", "*.onnx"]
    seen = inspect(cluster, tmp_path / "sdxl", *chosen)
    assert [one["folder"] for one in seen["components"]] == ["unet"]
    assert "scheduler/scheduler_config.json" not in [one["path"] for one in seen["companions"]]

    cluster.publish(tmp_path / "sdxl", "single@v1", "--include", "sd_xl*", shards=2)
    cluster.muster("assemble", "single@v1", "--out", tmp_path / "out")
    assert open_component(tmp_path / "out") == checkpoints.as_dict(components["unet"])


def test_code_is_published_only_when_allowed(cluster, tmp_path):
    model_families.qwen_moe_fp8(tmp_path / "qwen")

    without = cluster.publish(tmp_path / "qwen", "m@v1")
    assert "auto_map names \"modeling_qwen3_moe.py\"" in without.stderr
    cluster.publish(tmp_path / "qwen", "m@v2", "--allow-code")
    api = cluster.api()
    paths = {v: [c.path for c in api.models.ListCompanions(name=f"models/m/versions/{v}").companions] for v in ("v1", "v2")}
    assert "modeling_qwen3_moe.py" not in paths["v1"]
    assert "modeling_qwen3_moe.py" in paths["v2"]


# --- snapshots of a Hugging Face cache


def test_snapshot_is_published_and_its_digests_recorded(cluster, tmp_path):
    components = model_families.llama(tmp_path / "plain")
    snapshot = model_families.as_snapshot(tmp_path / "plain", tmp_path / "hub")

    cluster.publish(snapshot, "m@v1")

    version = cluster.api().models.GetModelVersion(name="models/m/versions/v1").model_version
    assert version.annotations["muster.snapshot"] == "org/name@0123abcd"
    assert len(version.annotations["muster.source_sha256"]) == 64
    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    expect_assembled(tmp_path / "out", components)


@pytest.mark.parametrize("strategy", ["layer", "raw"])
@pytest.mark.parametrize("damaged", ["model-00002-of-00003.safetensors", "original/tokenizer.model"])
def test_blob_with_another_sha256_is_refused_and_nothing_is_left(cluster, tmp_path, strategy, damaged):
    model_families.llama(tmp_path / "plain")
    snapshot = model_families.as_snapshot(tmp_path / "plain", tmp_path / "hub")
    blob = (snapshot / damaged).resolve()
    checkpoints.flip_byte(blob, blob.stat().st_size - 3)

    result = cluster.publish(snapshot, "m@v1", strategy=strategy, shards=5, check=False)

    assert "has SHA-256" in error_of(result)
    expect_nothing_left(cluster, cluster.api())


def test_links_out_of_the_snapshot_are_never_read(cluster, tmp_path):
    model_families.llama(tmp_path / "plain")
    snapshot = model_families.as_snapshot(tmp_path / "plain", tmp_path / "hub")
    (tmp_path / "secret").write_text("secret")
    (snapshot / "leak.json").symlink_to(tmp_path / "secret")
    (snapshot / "circle.json").symlink_to("circle.json")
    (snapshot / "folder").symlink_to(tmp_path / "plain")

    seen = inspect(cluster, snapshot)

    assert {one["path"]: one["why"] for one in seen["left_out"]} == {
        "leak.json": "a link out of the directory", "circle.json": "a link that leads in a circle",
        "folder": "a link out of the directory",
    }  # fmt: skip
    os.remove((snapshot / "model-00001-of-00003.safetensors").resolve())
    assert "which is left out: a link to nothing" in error_of(cluster.muster("inspect", snapshot, check=False))


# --- files that stay where they are


def test_ranks_of_vllm_are_registered_in_place_and_loaded_by_rank(cluster, tmp_path):
    source = tmp_path / "sharded"
    by_rank = model_families.vllm_sharded_state(source)
    assert "--in-place" in error_of(cluster.publish(source, "m@v1", check=False))

    cluster.muster("publish", source, "--model", "m@v1", "--in-place")

    assert not cluster.store.exists()
    api = cluster.api()
    shards = api.shards("m", "v1")
    assert [(shard.rank, shard.source_path) for shard in shards] == [
        (rank, f"model-rank-{rank}-part-{part}.safetensors") for rank in by_rank for part in range(2)
    ]
    cluster.create_assembly("demo", "m@v1", policy="ranked", min_nodes=2)
    for rank in by_rank:
        cluster.start_agent(f"n{rank}", "demo", "--claim", f"ranks:{rank}")
    cluster.wait_ready("demo")
    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    for path in source.glob("*.safetensors"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert not list((tmp_path / "out").glob("*.index.json"))


@pytest.mark.parametrize("family", ["llama", "diffusers"])
def test_directory_in_place_comes_back_with_its_files_names(cluster, tmp_path, family):
    source = tmp_path / family
    components = model_families.FAMILIES[family](source)

    cluster.muster("publish", source, "--model", "m@v1", "--in-place")

    cluster.muster("assemble", "m@v1", "--out", tmp_path / "out")
    expect_assembled(tmp_path / "out", components)
    for path in (tmp_path / "out").rglob("*.safetensors"):
        assert path.read_bytes() == (source / path.relative_to(tmp_path / "out")).read_bytes()


def test_snapshot_in_place_registers_the_blobs_with_their_sha256(cluster, tmp_path):
    model_families.llama(tmp_path / "plain")
    snapshot = model_families.as_snapshot(tmp_path / "plain", tmp_path / "hub")

    cluster.muster("publish", snapshot, "--model", "m@v1", "--in-place")

    for shard in cluster.api().shards("m", "v1"):
        assert shard.locations[0].uri.endswith(f"/blobs/{shard.sha256}")
    blob = (snapshot / "model-00002-of-00003.safetensors").resolve()
    checkpoints.flip_byte(blob, 5000)
    refused = cluster.muster("publish", snapshot, "--model", "m@v2", "--in-place", check=False)
    assert "has SHA-256" in error_of(refused)
    assert len(cluster.api().models.ListModelVersions().model_versions) == 1


def test_gguf_is_published_raw_and_in_place(cluster, tmp_path):
    path = model_families.gguf(tmp_path / "gguf")
    assert "--strategy raw" in error_of(cluster.publish(path.parent, "m@v1", check=False))
    strategies = {one["strategy"]: "error" in one for one in inspect(cluster, path.parent)["strategies"]}
    assert strategies == {"layer": True, "type": True, "uniform": True, "raw": False}

    cluster.publish(path.parent, "m@v1", strategy="raw", shards=3)
    cluster.muster("publish", path.parent, "--model", "m@v2", "--in-place", "--strategy", "raw")

    for version in ("v1", "v2"):
        cluster.muster("assemble", f"m@{version}", "--out", tmp_path / version)
        assert (tmp_path / version / path.name).read_bytes() == path.read_bytes()


# --- bad input


def test_two_hundred_thousand_tiny_tensors(cluster, tmp_path):
    rng = random.Random(1)
    tensors = [checkpoints.random_tensor(rng, f"model.layers.{i % 64}.t{i}", "U8", [1]) for i in range(200_000)]
    source = checkpoints.write_safetensors(tmp_path / "tiny.safetensors", tensors)

    cluster.publish(source, "tiny@v1", shards=8, timeout=300)

    assert cluster.api().models.GetModelVersion(name="models/tiny/versions/v1").model_version.tensors_added == 200_000
    cluster.muster("assemble", "tiny@v1", "--out", tmp_path / "out", timeout=300)
    assert checkpoints.open_directory(tmp_path / "out") == checkpoints.as_dict(tensors)


def test_bad_directories_are_refused_with_what_to_do(cluster, tmp_path):
    def refused(build, *words):
        directory = tmp_path / build.__name__
        directory.mkdir()
        build(directory)
        for command in (["inspect", directory], ["publish", directory, "--model", "m@v1", "--to", cluster.store]):
            text = error_of(cluster.muster(*command, check=False))
            assert all(word in text for word in words), text

    tensors = checkpoints.transformer(layers=1, width=16)

    def empty(_directory):
        pass

    def repeated(directory):
        for name in ("a", "b"):
            checkpoints.write_safetensors(directory / f"{name}.safetensors", tensors[:2])

    def listed_twice(directory):
        checkpoints.write_safetensors(directory / "a.safetensors", tensors)
        (directory / "model.safetensors.index.json").write_text('{"weight_map":{"x":"a.safetensors","x":"a.safetensors"}}')

    def lacking(directory):
        checkpoints.write_safetensors(directory / "a.safetensors", tensors)
        (directory / "model.safetensors.index.json").write_text('{"weight_map":{"nowhere":"a.safetensors"}}')

    def cases(directory):
        checkpoints.write_safetensors(directory / "a.safetensors", tensors)
        (directory / "README.md").write_text("")
        (directory / "readme.md").write_text("")

    def repository(directory):
        model_families.llama(directory / "plain")
        model_families.as_snapshot(directory / "plain", directory / "hub")
        for path in (directory / "hub/models--org--name").iterdir():
            path.rename(directory / path.name)

    refused(empty, "holds no weight files")
    refused(repeated, "a.safetensors", "b.safetensors", "is in two files")
    refused(listed_twice, '"x"', "twice")
    refused(lacking, '"nowhere"', "lacks it")
    refused(cases, "README.md", "readme.md", "letter case")
    refused(repository, "name one of them")
    expect_nothing_left(cluster, cluster.api())


def test_source_that_changes_while_being_published_is_noticed(cluster, tmp_path):
    source = tmp_path / "source"
    cluster.muster("sample", "--out", source, "--size", "128MiB", "--layout", "hf")
    publish = cluster.spawn_muster(
        "publish", "publish", source, "--model", "m@v1", "--to", f"file://{cluster.store}", "--shards", "16", "--jobs", "1"
    )
    api = cluster.api()
    eventually(lambda: len(list(cluster.store.rglob("shard-*"))) > 0, "a shard is stored")
    with open(source / "config.json", "a", encoding="utf-8") as config:
        config.write(" ")

    assert publish.wait(60) == 1

    assert "config.json" in publish.output()
    assert "changed" in publish.output()
    expect_nothing_left(cluster, api)
