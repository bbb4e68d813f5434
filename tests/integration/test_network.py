"""Cables that are pulled between hosts, each of them a network namespace (harness/hosts.py).

MUSTER_REPEAT=100 runs each so often.
"""

import pytest
from harness import checkpoints
from harness.conditions import always, eventually
from test_pauses import GRACE_SECONDS, SHARDS, TTL_SECONDS, check_ready_is_true, holders, moved_away, node_revisions, state_of

PORT = 7070
NODES = ("n1", "n2", "n3")


@pytest.fixture(name="source", scope="module")
def make_source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    return checkpoints.write_safetensors(path, checkpoints.transformer(layers=2))


class Site:
    """A server and three agents, each on a host of its own, with a READY assembly."""

    def __init__(self, cluster, hosts, source, grace):
        self.cluster, self.hosts = cluster, hosts("server", *NODES)
        server = self.hosts["server"]
        cluster.start_server(
            "--insecure", "--lease-ttl", TTL_SECONDS, "--move-grace", grace, listen=f"0.0.0.0:{PORT}", host=server
        )  # fmt: skip
        self.server_address = f"{server.address}:{PORT}"
        # Commands run on the server's host; the test itself comes in by a socket in the file system.
        cluster.commands_on, cluster.address = server, f"127.0.0.1:{PORT}"
        self.api = cluster.api(server.forward(cluster, PORT))
        eventually(lambda: (cluster.directory / "server.sock").exists(), "the way to the server's host is open")
        cluster.publish(source, "llama@v1", shards=SHARDS)
        cluster.create_assembly("demo", "llama@v1", min_nodes=len(NODES))
        self.agents = {
            name: cluster.start_agent(name, "demo", server=self.server_address, host=self.hosts[name]) for name in NODES
        }
        cluster.wait_ready("demo")
        cluster.allow_nodes("demo", len(NODES) - 1)

    def check_settled(self):
        eventually(lambda: self.api.is_ready("demo"), "READY", 60)
        check_ready_is_true(self.api)
        assert all(agent.running() for agent in self.agents.values())


@pytest.fixture(name="new_site")
def make_site(new_cluster, hosts, source):
    return lambda grace=GRACE_SECONDS: Site(new_cluster(), hosts, source, grace)


def test_agent_cut_off_past_the_grace_loses_its_shards_and_returns(new_site, repetition):
    site = new_site()
    epoch = site.api.nodes.GetNode(name="nodes/n1").node.epoch
    site.hosts["n1"].cut()
    eventually(lambda: moved_away(site.api, "n1"), f"READY without n1, repetition {repetition}", 60)

    site.hosts["n1"].heal()

    eventually(lambda: state_of(site.api, "n1") == "LIVE", "n1 is back", 60)
    assert site.api.nodes.GetNode(name="nodes/n1").node.epoch == epoch
    site.check_settled()


def test_agent_cut_off_within_the_grace_keeps_its_shards(new_site, repetition):
    site = new_site(grace=600)
    before = holders(site.api)
    site.hosts["n1"].cut()
    eventually(lambda: state_of(site.api, "n1") == "LOST", f"n1 is lost, repetition {repetition}", 60)

    site.hosts["n1"].heal()

    site.check_settled()
    assert holders(site.api) == before


def test_server_cut_off_from_all_moves_nothing_to_nowhere(new_site, repetition):
    """Every agent is lost, so there is nobody to move to; when the cable is back, all is as before."""
    site = new_site()
    before = holders(site.api)
    site.hosts["server"].cut()
    eventually(lambda: all(state_of(site.api, name) == "LOST" for name in NODES), "all are lost", 60)
    always(lambda: not site.api.is_ready("demo"), f"not READY, repetition {repetition}", GRACE_SECONDS + 1)

    site.hosts["server"].heal()

    eventually(lambda: all(state_of(site.api, name) == "LIVE" for name in NODES), "all are back", 60)
    site.check_settled()
    assert sorted(len(replicas) for replicas in holders(site.api)) == [len(replicas) for replicas in before]


def test_cut_in_one_direction_ends_as_a_loss_and_heals(new_site, repetition):
    """The server hears the agent and can't answer: a half-open connection must not keep a lease alive for ever."""
    site = new_site()
    server, agent = site.hosts["server"], site.hosts["n1"]
    server.drop_to(agent)
    eventually(lambda: moved_away(site.api, "n1"), f"READY without n1, repetition {repetition}", 60)

    server.reach(agent)

    eventually(lambda: state_of(site.api, "n1") == "LIVE", "n1 is back", 60)
    site.check_settled()


def test_short_cut_is_not_noticed(new_site, repetition):
    site = new_site()
    before = holders(site.api), node_revisions(site.api)
    site.hosts["n1"].cut()
    always(lambda: True, "less than a TTL passes", TTL_SECONDS / 4)

    site.hosts["n1"].heal()

    always(lambda: site.api.is_ready("demo"), f"READY past a whole TTL, repetition {repetition}", TTL_SECONDS + 1)
    assert (holders(site.api), node_revisions(site.api)) == before
    site.check_settled()
