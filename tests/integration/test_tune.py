"""`muster tune`: measures on the user's storage without a server, draws, recommends, and leaves nothing."""

import os
import re
import signal
import xml.etree.ElementTree

import pytest
from harness import checkpoints
from harness.conditions import eventually

SVG = "{http://www.w3.org/2000/svg}"
SMALL = ["--shards", "1,2", "--piece-sizes", "1MiB,8MiB", "--connections", "1,4", "--rounds", "1"]


@pytest.fixture(name="tuner")
def make_tuner(new_cluster):
    """A cluster whose server is never started."""
    return new_cluster()


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(width=512))


def test_rates_recommendation_and_plot(tuner, source, tmp_path):
    store, plot = tmp_path / "store", tmp_path / "tune.svg"
    result = tuner.muster("tune", source, "--to", f"file://{store}", *SMALL, "--plot", plot, "--json").json()

    assert result["complete"]
    assert all(one["repeats"] == 1 and one["slowest_seconds"] == one["seconds"] for one in result["publish"])
    assert 0 < result["sample_bytes"] <= source.stat().st_size
    assert len(result["publish"]) == 4
    assert len(result["load"]) == 8
    assert all(one["seconds"] > 0 and one["bytes_per_second"] > 0 for one in result["publish"] + result["load"])
    recommended = result["recommended"]
    assert recommended["shards"] in (1, 2)
    assert recommended["piece_size_bytes"] in (1 << 20, 8 << 20)
    assert recommended["connections"] in (1, 4)
    assert len(recommended["reasons"]) >= 3
    assert list(store.iterdir()) == []

    drawing = xml.etree.ElementTree.parse(plot).getroot()
    assert drawing.tag == f"{SVG}svg"
    assert len(drawing.findall(f"{SVG}polyline")) == 2 + 4
    texts = [element.text for element in drawing.iter(f"{SVG}text")]
    assert {"shards", "MiB/s", "pieces of 1.0 MiB", "8.0 MiB, 4 connections"} <= set(texts)


def test_table_for_people(tuner, source, tmp_path):
    result = tuner.muster("tune", source, "--to", tmp_path / "store", *SMALL, "--sample-bytes", "2MiB")
    assert re.search(r"SHARDS +PIECES +PUBLISH +LOAD BY 1 +LOAD BY 4 +TOGETHER\n", result.stdout)
    assert len(re.findall(r"^ +[12] +[18]\.0 MiB( +\d+ MiB/s){3} +\d+\.\d\d s$", result.stdout, re.MULTILINE)) == 4
    assert re.search(r"^TOGETHER, .*decides pieces and shards", result.stdout, re.MULTILINE)
    assert re.search(r"^recommended: --shards [12] --piece-size [18]MiB .*--connections [14] ", result.stdout, re.MULTILINE)
    assert "within 5 %" in result.stdout or "the fastest" in result.stdout


def test_interrupted_tune_leaves_nothing(tuner, source, tmp_path):
    store = tmp_path / "store"
    process = tuner.spawn_muster("tune", "tune", source, "--to", store, "--rounds", "100")
    eventually(lambda: list(store.glob("muster-tune-*/*/*")), "something is written")

    os.kill(process.pid, signal.SIGINT)

    eventually(lambda: not process.running(), "the command ends")
    assert process.exit_code == 130
    assert list(store.iterdir()) == []


def test_time_bounds_the_measuring(tuner, source, tmp_path):
    words = ["tune", source, "--to", tmp_path / "store"]
    short = tuner.muster(*words, "--rounds", "100", "--max-time", "2s", "--json").json()
    assert not short["complete"] or short["notes"] == []
    assert short["load"]
    refused = tuner.muster(*words, "--max-time", "1ms", check=False)
    assert refused.code == 1
    assert "give it more time" in refused.text
    assert list((tmp_path / "store").iterdir()) == []


def test_storage_that_refuses_is_named(tuner, source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for to in (tmp_path / "file", "http://127.0.0.1:1/models", "nosuch://bucket"):
        refused = tuner.muster("tune", source, "--to", to, *SMALL, check=False)
        assert refused.code == 1, str(refused)
        assert str(to).rsplit("/", maxsplit=1)[-1] in refused.text
    assert (tmp_path / "file").read_text() == "in the way"
