"""A server whose machine's clock is set, ahead and back: nothing expires by it, and nothing stands still by it."""

import time

import pytest
from harness.api import ApiError, model_pb2, node_pb2
from harness.cluster import preload
from harness.conditions import eventually

DAY = 86_400
# A clock of the same machine, read again a moment later, on a busy machine.
CLOSE_SECONDS = 60


class SetClock:
    """The time of day of the processes that get `env`."""

    def __init__(self, directory):
        self.offset = 0
        self.file = directory / "time-offset"
        self.set_off_by(0)
        self.env = {**preload("set_time_of_day"), "MUSTER_TEST_TIME_OFFSET": str(self.file)}

    def set_off_by(self, seconds):
        """In one step: the server may read it at any time."""
        self.offset = seconds
        beside = self.file.with_suffix(".new")
        beside.write_text(str(seconds), encoding="ascii")
        beside.rename(self.file)


@pytest.fixture(name="clock")
def make_clock(tmp_path):
    return SetClock(tmp_path)


def create(api, version, request_id=""):
    return api.models.CreateModelVersion(
        model_version=model_pb2.ModelVersion(name=f"models/m/versions/{version}", shard_count=1), request_id=request_id
    ).model_version


def kinds_of_events(api):
    return [event.kind for event in api.paged(api.events.ListEvents, "events")]


def steps_logged(cluster):
    return cluster.server.output().count("time_of_day=set")


def step(cluster, api, clock, seconds):
    """The server has taken the step: what is made now has the new time."""
    before = steps_logged(cluster)
    clock.set_off_by(seconds)
    eventually(lambda: steps_logged(cluster) == before + 1, "the step is logged, once")

    def stamped():
        made = create(api, f"at-{time.monotonic_ns()}")
        return abs(made.create_time.ToSeconds() - (time.time() + seconds)) < CLOSE_SECONDS

    eventually(stamped, f"new drafts have a time {seconds} s off the true one")


@pytest.mark.parametrize("days", [2, -2, 30, -30])
def test_step_of_the_clock_and_back_deletes_and_freezes_nothing(new_cluster, clock, days):
    cluster = new_cluster()
    cluster.start_server("--lease-ttl", 5, env=clock.env)
    api = cluster.api()
    first = create(api, "v1", request_id="the-call")
    epoch = api.nodes.RegisterNode(node=node_pb2.Node(name="nodes/n1", instance_id="i"), request_id="a-node").epoch
    events = kinds_of_events(api)

    def check(api):
        assert create(api, "v1", request_id="the-call") == first, "the call is known under its id"
        assert api.models.GetModelVersion(name="models/m/versions/v1").model_version.uid == first.uid
        repeated = api.nodes.RegisterNode(node=node_pb2.Node(name="nodes/n1", instance_id="i"), request_id="a-node")
        assert repeated.epoch == epoch
        assert kinds_of_events(api)[: len(events)] == events, "no event is gone"

    step(cluster, api, clock, days * DAY)
    check(api)
    step(cluster, api, clock, 0)
    check(api)
    assert steps_logged(cluster) == 2

    # The same over restarts, where nobody sees the step.
    for seconds in (days * DAY, 0):
        cluster.kill_server()
        clock.set_off_by(seconds)
        cluster.start_server(env=clock.env)
        api = cluster.api()
        check(api)
        made = create(api, f"started-{seconds}")
        assert abs(made.create_time.ToSeconds() - (time.time() + seconds)) < CLOSE_SECONDS

    # Leases run out by the other clock: the node has not been heard of since the last start.
    def lost():
        try:
            return api.nodes.GetNode(name="nodes/n1").node.state == node_pb2.Node.LOST
        except ApiError:
            return False

    eventually(lost, "the silent node is lost", 60)
