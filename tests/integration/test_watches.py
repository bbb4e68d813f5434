"""Watches of real processes: the six promises over resumes, restarts, compaction, and clients that don't read."""

import grpc
import pytest
from harness import watches
from harness.api import ApiError, assembly_pb2, event_pb2
from harness.conditions import eventually

REPORT = assembly_pb2.ShardReport
VERSION = "models/m/versions/v"
ASSEMBLY = "assemblies/a"
NODE = "nodes/n"
SHARDS = 8
FOREVER = 600.0


class Driver:
    """One node in one assembly, whose reports are what there is to watch."""

    def __init__(self, api):
        self.api = api
        shards = [
            {"index": i, "size_bytes": 1000, "md5": f"{i + 1:032x}", "locations": [{"uri": f"file:///s/{i}"}]}
            for i in range(SHARDS)
        ]
        api.models.CreateModelVersion(model_version={"name": VERSION, "shard_count": SHARDS})
        api.models.AddShards(name=VERSION, shards=shards)
        api.models.CommitModelVersion(name=VERSION)
        api.assemblies.CreateAssembly(assembly={"name": ASSEMBLY, "model_version": VERSION, "policy": "FULL"})
        reply = api.nodes.RegisterNode(node={"name": NODE, "instance_id": "i"}, lease_ttl={"seconds": 3600})
        self.epoch = reply.epoch
        api.assemblies.JoinAssembly(name=ASSEMBLY, node=NODE, epoch=self.epoch, claim={"kind": "ANY"})
        self.generation = 0
        eventually(self._planned, "the plan is there")

    def _planned(self):
        self.generation = self.api.assembly("a").generation
        return self.generation

    def report(self, shard, state):
        """Returns the revision of the report."""
        return self.api.assemblies.ReportShards(
            assembly=ASSEMBLY, node=NODE, epoch=self.epoch,
            reports=[{"shard": shard, "generation": self.generation, "state": state}],
        ).revision  # fmt: skip

    def flip(self, times):
        """Reports that each change something; returns the last revision."""
        revision = 0
        for i in range(times):
            revision = self.report(i % SHARDS, (REPORT.FETCHING, REPORT.PENDING)[i // SHARDS % 2])
        return revision


def watch_events(api, start=0, **filters):
    return watches.Watcher(
        api.events.WatchEvents(timeout=FOREVER, start_revision=start, filter=event_pb2.EventFilter(**filters))
    )


def watch_assembly(api, start=0):
    return watches.Watcher(api.assemblies.WatchAssembly(timeout=FOREVER, name=ASSEMBLY, start_revision=start))


def watch_assignments(api, epoch, start=0):
    return watches.Watcher(
        api.assemblies.WatchAssignments(timeout=FOREVER, node=NODE, epoch=epoch, start_revision=start)
    )


def true_events(api):
    """All that ListEvents returns, by revision."""
    truth = {}
    for event in api.paged(api.events.ListEvents, "events"):
        truth.setdefault(event.revision, []).append(event.SerializeToString(deterministic=True))
    return truth


def truth_of(history):
    """What one whole watch was sent, as the truth for others."""
    return {message.revision: message.items for message in history.messages if message.items}


def first_revision(watcher):
    eventually(lambda: watcher.messages or watcher.error, "the watch begins")
    assert not watcher.error, str(watcher.error)
    return watcher.messages[0].revision


def test_snapshot_then_deltas(cluster):
    api = cluster.api()
    driver = Driver(api)
    states, shards, events = watch_assembly(api), watch_assignments(api, driver.epoch), watch_events(api)
    start = first_revision(states)
    first_revision(shards)
    begin = first_revision(events)
    assert shards.messages[0].snapshot and len(shards.messages[0].assigned) == SHARDS
    last = driver.flip(40)
    states.await_revision(last)
    events.await_revision(last)
    told = [m.revision for m in states.messages[1:] if not m.progress]
    assert told == list(range(last - 39, last + 1))
    assert states.messages[-1].assembly == api.assembly("a")
    watches.check_watches([events.history(begin, watches.records_of_events)], true_events(api))
    api.assemblies.DeleteAssembly(name=ASSEMBLY)
    eventually(lambda: shards.messages[-1].unassigned, "the shards are taken away")
    assert {gone.shard for gone in shards.messages[-1].unassigned} == set(range(SHARDS))
    assert shards.messages[-1].complete
    eventually(lambda: states.error, "the watch of the assembly ends")
    assert states.error.reason == "ASSEMBLY_UNKNOWN"
    assert start <= last


def test_resume_in_the_middle_tells_the_rest(cluster):
    api = cluster.api()
    driver = Driver(api)
    whole = watch_events(api, start=1)
    driver.flip(10)
    histories, start = [], 1
    for _ in range(4):
        last = driver.flip(10)
        part = watch_events(api, start=start)
        part.await_revision(last)
        part.stop()
        histories.append(part.history(start, watches.records_of_events))
        start = histories[-1].safe()
    whole.await_revision(last)
    truth = true_events(api)
    watches.check_watches(histories, truth)
    watches.check_watches([whole.history(1, watches.records_of_events)], truth)


@pytest.mark.limit(300)
def test_watches_resume_over_kill_and_restart(cluster):
    api = cluster.api()
    driver = Driver(api)
    reference = watch_assembly(api)
    begin = first_revision(reference)
    histories = {"events": [], "assembly": []}
    starts = {"events": begin, "assembly": begin}
    for _ in range(3):
        events, states = watch_events(api, starts["events"]), watch_assembly(api, starts["assembly"])
        middle = driver.flip(20)
        events.await_revision(middle)
        states.await_revision(middle)
        # More happens than the watchers are sent before the server dies.
        events.stop()
        driver.flip(30)
        cluster.kill_server()
        eventually(lambda: states.error, "the watch ends with the server")  # pylint: disable=cell-var-from-loop
        cluster.start_server()
        histories["events"].append(events.history(starts["events"], watches.records_of_events))
        histories["assembly"].append(states.history(starts["assembly"], watches.records_of_assembly))
        starts = {kind: parts[-1].safe() for kind, parts in histories.items()}
    last = driver.flip(1)
    events, states = watch_events(api, starts["events"]), watch_assembly(api, starts["assembly"])
    # One that has seen nothing since the beginning reads it all from the log.
    late = watch_assembly(api, begin)
    for watcher in (events, states, late):
        watcher.await_revision(last)
    histories["events"].append(events.history(starts["events"], watches.records_of_events))
    histories["assembly"].append(states.history(starts["assembly"], watches.records_of_assembly))
    watches.check_watches(histories["events"], true_events(api))
    whole = late.history(begin, watches.records_of_assembly)
    assert [m.revision for m in whole.messages if m.items] == list(range(begin + 1, last + 1))
    watches.check_watches(histories["assembly"], truth_of(whole))
    # The node's watch goes on as well: nothing has changed for it since.
    shards = watch_assignments(api, driver.epoch, begin)
    api.assemblies.DeleteAssembly(name=ASSEMBLY)
    eventually(lambda: shards.messages and shards.messages[-1].unassigned, "the deletion is told")
    assert not any(message.snapshot for message in shards.messages)
    assert len(shards.messages[-1].unassigned) == SHARDS


def test_compaction_ends_a_watch_with_a_clear_error(new_cluster):
    cluster = new_cluster()
    cluster.start_server("--event-log-max", "64")
    api = cluster.api()
    driver = Driver(api)
    token = api.events.ListEvents(page_size=1).next_page_token
    driver.flip(400)
    cluster.kill_server()
    cluster.start_server()
    # A tick drops a bounded part.
    eventually(lambda: len(api.events.ListEvents().events) <= 64, "the log is cut off")
    for watcher in (watch_events(api, 5), watch_assembly(api, 5), watch_assignments(api, driver.epoch, 5)):
        eventually(lambda: watcher.error, "the watch ends")  # pylint: disable=cell-var-from-loop
        error = watcher.error
        assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "REVISION_COMPACTED")
        assert int(error.metadata["compact_revision"]) > 5
        assert "snapshot" in error.message
    with pytest.raises(ApiError) as refused:
        api.events.ListEvents(page_size=1, page_token=token)
    assert refused.value.reason == "PAGE_TOKEN_EXPIRED"
    with pytest.raises(ApiError) as refused:
        api.events.ListEvents(after_revision=5)
    assert refused.value.reason == "REVISION_COMPACTED"
    page = api.events.ListEvents()
    assert page.events[0].revision > page.compact_revision
    # A log that long is kept.
    watcher = watch_events(api, page.compact_revision)
    watcher.await_revision(page.revision)


def test_quiet_watches_get_progress_notes(new_cluster):
    cluster = new_cluster()
    cluster.start_server("--progress-interval", "0.2")
    api = cluster.api()
    driver = Driver(api)
    quiet = [watch_assembly(api), watch_assignments(api, driver.epoch), watch_events(api, node="nodes/none")]
    for watcher in quiet:
        first_revision(watcher)
    revision = api.nodes.RegisterNode(node={"name": "nodes/other", "instance_id": "o"}).revision
    for watcher in quiet:
        watcher.await_revision(revision)
        assert watcher.messages[-1].progress
        watcher.stop()
    # A note is a place to resume from.
    resumed = watch_assembly(api, quiet[0].messages[-1].revision)
    last = driver.flip(1)
    resumed.await_revision(last)
    assert [m.revision for m in resumed.messages if not m.progress] == [last]


def test_node_shows_what_it_has_applied(cluster):
    api = cluster.api()
    driver = Driver(api)
    assert api.nodes.GetNode(name=NODE).node.applied_revision == 0
    api.nodes.Heartbeat(name=NODE, epoch=driver.epoch, applied_revision=driver.generation)
    assert api.nodes.GetNode(name=NODE).node.applied_revision == driver.generation
    assert [n.applied_revision for n in api.nodes.ListNodes().nodes] == [driver.generation]


@pytest.mark.limit(300)
def test_stuck_client_delays_nobody_and_costs_no_memory(cluster):
    api = cluster.api()
    driver = Driver(api)
    # Never read: what the network takes is a few MiB.
    stuck_api = cluster.api()
    stuck = stuck_api.events.WatchEvents(timeout=FOREVER, start_revision=1)
    lively = watch_events(api, start=1)
    driver.flip(200)
    before, last = cluster.server.peak_resident_bytes(), 0
    for _ in range(10):
        last = driver.flip(300)
        lively.await_revision(last)
    watches.check_watches([lively.history(1, watches.records_of_events)], true_events(api))
    assert cluster.server.peak_resident_bytes() - before < 64 << 20
    stuck.cancel()


@pytest.mark.limit(300)
def test_thousand_watchers_get_every_state(cluster):
    api = cluster.api()
    driver = Driver(api)
    channels = [cluster.api() for _ in range(4)]
    streams = [channels[i % 4].assemblies.WatchAssembly(timeout=FOREVER, name=ASSEMBLY) for i in range(1000)]
    begin = api.assembly("a").revision
    for stream in streams:
        assert next(stream).revision >= begin
    last = driver.flip(5)
    for stream in streams:
        states = (message.revision for message in stream if not message.progress)
        assert [next(states) for _ in range(5)] == list(range(last - 4, last + 1))
        stream.cancel()


def test_events_by_filter_and_tail(cluster):
    api = cluster.api()
    driver = Driver(api)
    last = driver.flip(20)
    reports = api.events.ListEvents(filter={"kinds": ["SHARDS_REPORTED"]}).events
    assert len(reports) == 20 and reports[-1].revision == last
    assert (reports[-1].node, reports[-1].assembly, reports[-1].cause) == (NODE, ASSEMBLY, "ReportShards")
    tail = api.events.ListEvents(tail=3, filter={"kinds": ["SHARDS_REPORTED"]}).events
    assert [e.revision for e in tail] == [last - 2, last - 1, last]
    assert all(e.node == NODE for e in api.events.ListEvents(filter={"node": NODE}).events)
    created = api.events.ListEvents(filter={"model_version": VERSION, "kinds": ["VERSION_CREATED"]}).events
    assert [e.new_state for e in created] == ["DRAFT"]
    assert not api.events.ListEvents(filter={"node": "nodes/none"}).events
