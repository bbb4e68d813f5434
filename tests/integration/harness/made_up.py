"""Model versions of made-up shards, and nodes without a process: the server never looks at bytes or machines."""

from harness.conditions import eventually

MIB = 1 << 20
# In one call.
MAX_ITEMS = 1000


def add_model(api, model="llama", version="v1", shards=4, size_bytes=MIB, ranked=False, locations=None):
    """A committed model version; shard i has `size_bytes` + i bytes, and rank i where it is `ranked`."""
    name = f"models/{model}/versions/{version}"
    api.models.CreateModelVersion(model_version={"name": name, "shard_count": shards})
    items = []
    for i in range(shards):
        item = {"index": i, "size_bytes": size_bytes + i, "md5": f"{i:032x}"}
        item["locations"] = locations or [{"uri": f"file:///nowhere/{i}"}]
        if ranked:
            item["rank"] = i
        items.append(item)
    for begin in range(0, shards, MAX_ITEMS):
        api.models.AddShards(name=name, shards=items[begin : begin + MAX_ITEMS])
    api.models.CommitModelVersion(name=name)
    return name


def add_assembly(api, model, name="demo", policy="BALANCED", **fields):
    api.assemblies.CreateAssembly(
        assembly={"name": f"assemblies/{name}", "model_version": model, "policy": policy, **fields}
    )
    return f"assemblies/{name}"


class Node:
    """A registered node that says what the test wants. Without heartbeats it lives as long as its lease: an hour."""

    def __init__(self, api, name, lease_seconds=3600, **fields):
        self.api, self.name = api, f"nodes/{name}"
        reply = api.nodes.RegisterNode(node={"name": self.name, **fields}, lease_ttl={"seconds": lease_seconds})
        self.epoch = reply.epoch

    def join(self, assembly="demo", **claim):
        """With no claim: ANY. join(shards=[1, 2]), join(ranks=[0])."""
        kind = "SHARDS" if "shards" in claim else "RANKS" if "ranks" in claim else "ANY"
        self.api.assemblies.JoinAssembly(
            name=f"assemblies/{assembly}", node=self.name, epoch=self.epoch, claim={"kind": kind, **claim}
        )
        return self

    def heartbeat(self):
        self.api.nodes.Heartbeat(name=self.name, epoch=self.epoch)

    def replicas(self, assembly="demo"):
        """What the node is to hold: shard -> ShardReplica."""
        found = {}
        for shard in range(self.api.assembly(assembly).shard_count):
            status = self.api.assemblies.GetShardStatus(name=f"assemblies/{assembly}", shard=shard)
            found.update({shard: replica for replica in status.replicas if replica.node == self.name})
        return found

    def report(self, shards, assembly="demo", state="READY", **fields):
        held = self.replicas(assembly)
        self.api.assemblies.ReportShards(
            node=self.name,
            epoch=self.epoch,
            assembly=f"assemblies/{assembly}",
            reports=[{"shard": i, "generation": held[i].generation, "state": state, **fields} for i in shards],
        )

    def report_all(self, assembly="demo"):
        """READY for all that it is to hold and did not report."""
        open_shards = [shard for shard, replica in self.replicas(assembly).items() if not replica.counted]
        if open_shards:
            self.report(open_shards, assembly)


def make_ready(api, nodes, assembly="demo"):
    """Lets the nodes report all that they get, until the assembly is READY."""

    def ready():
        for node in nodes:
            node.report_all(assembly)
        return api.is_ready(assembly)

    eventually(ready, f"{assembly} is READY")
