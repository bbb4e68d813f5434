"""A server whose disk hangs: what needs no disk goes on, everybody can see it, and nothing is acknowledged that is not stored."""

import concurrent.futures

import pytest
from harness.api import ApiError, model_pb2, node_pb2
from harness.cluster import preload
from harness.conditions import always, eventually

SERVICES = ("", "muster.v1.ModelService", "muster.v1.NodeService", "muster.v1.AssemblyService")
# Within which health is to show it.
SHOWN_SECONDS = 10.0


class Disk:
    """The disk of the processes that get `env`."""

    def __init__(self, directory):
        self._hangs = directory / "disk-hangs"
        self.env = {**preload("hang_disk"), "MUSTER_TEST_DISK_HANGS": str(self._hangs)}

    def hang(self):
        self._hangs.touch()

    def answer(self):
        self._hangs.unlink(missing_ok=True)


@pytest.fixture(name="disk")
def make_disk(tmp_path):
    disk = Disk(tmp_path)
    yield disk
    disk.answer()


@pytest.fixture(name="callers")
def make_callers():
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as callers:
        yield callers


def create(api, version, **call):
    draft = model_pb2.ModelVersion(name=f"models/m/versions/{version}", shard_count=1)
    return api.models.CreateModelVersion(model_version=draft, **call).model_version


def test_hang_shows_in_health_and_ends_without_a_loss(new_cluster, disk, callers):
    cluster = new_cluster()
    cluster.start_server("--lease-ttl", 2, env=disk.env)
    api = cluster.api()
    create(api, "before")
    epoch = api.nodes.RegisterNode(node=node_pb2.Node(name="nodes/n1", instance_id="i")).epoch
    assert all(api.serving(service) for service in SERVICES)

    disk.hang()
    waits = callers.submit(create, api, "meanwhile", timeout=60)

    def beats():
        return api.nodes.Heartbeat(name="nodes/n1", epoch=epoch)

    def shown():
        beats()
        return not any(api.serving(service) for service in SERVICES)

    eventually(shown, "health says that the store hangs", SHOWN_SECONDS)
    log = cluster.server.output()
    assert log.count("store=slow") == 1 and log.count("store=stuck") == 1, log
    # A read would tell what is not stored yet, and so it waits; and a node that beats is alive.
    for version in ("before", "meanwhile"):
        with pytest.raises(ApiError) as answer:
            api.models.GetModelVersion(name=f"models/m/versions/{version}", timeout=0.5)
        assert answer.value.code.name == "DEADLINE_EXCEEDED"
    always(lambda: beats() and not waits.done(), "the node beats, and the call is not answered", 2.5)

    disk.answer()
    made = waits.result(timeout=20)
    eventually(lambda: all(api.serving(service) for service in SERVICES), "health says that the store answers")
    assert "store=answers" in cluster.server.output()
    assert api.nodes.GetNode(name="nodes/n1").node.epoch == epoch
    cluster.kill_server()
    cluster.start_server(env=disk.env)
    assert cluster.api().models.GetModelVersion(name="models/m/versions/meanwhile").model_version.uid == made.uid


def test_store_timeout_ends_the_process_and_loses_nothing(new_cluster, disk, callers):
    cluster = new_cluster()
    cluster.start_server("--store-timeout", "2s", env=disk.env)
    api = cluster.api()
    before = create(api, "before")

    disk.hang()
    waits = callers.submit(create, api, "meanwhile", timeout=60)
    code = cluster.server.wait(timeout=30)

    assert code == 5, cluster.server.output()
    assert "--store-timeout" in cluster.server.output()
    with pytest.raises(ApiError) as answer:
        waits.result(timeout=20)
    assert answer.value.code.name == "UNAVAILABLE"
    disk.answer()
    cluster.start_server(env=disk.env)
    assert cluster.api().models.GetModelVersion(name="models/m/versions/before").model_version.uid == before.uid
