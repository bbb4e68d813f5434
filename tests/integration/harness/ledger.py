"""Writers that remember what the server acknowledged, and the check of that against what is there later.

Each writer works on names of its own, one call after the other, so what must be there after a crash is known exactly but
for the one call whose reply never came.
"""

import random
import threading

from harness.api import ApiError, assembly_pb2

MIB = 1 << 20
# What a call may end with because the server is going down or gone.
LOST = ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED")


class Model:
    """What was acknowledged of one model version."""

    def __init__(self, name, shard_count, reply, request_id):
        self.name, self.shard_count, self.request_id = name, shard_count, request_id
        self.uid = reply.model_version.uid
        self.shards = {}
        self.locations = {}
        self.tensors = []
        self.companions = []
        self.committed = False
        # None: exists. "asked": deletion was sent. "gone": deletion was acknowledged.
        self.deletion = None


class Node:
    def __init__(self, name, reply):
        self.name, self.epoch, self.uid = name, reply.epoch, reply.node.uid
        self.newer_epoch_asked = False


class Assembly:
    def __init__(self, name, model, reply):
        self.name, self.model, self.uid = name, model, reply.assembly.uid
        self.member = None
        self.ready_shards = []
        self.deletion = None


class Ledger:
    """One writer's acknowledged work."""

    def __init__(self):
        self.models, self.nodes, self.assemblies = [], [], []
        # The highest revision that any reply has shown.
        self.revision = 0
        self.acknowledged = 0

    def saw(self, reply):
        self.revision = max(self.revision, reply.revision)
        self.acknowledged += 1
        return reply


class Writer(threading.Thread):
    """Makes models, nodes and assemblies until the server is gone."""

    def __init__(self, api, name, seed):
        super().__init__(name=name, daemon=True)
        self.api, self.prefix, self.random = api, name, random.Random(seed)
        self.ledger = Ledger()
        self.problem = None

    def run(self):
        try:
            number = 0
            while True:
                self._one_life(number)
                number += 1
        except ApiError as error:
            if error.code.name not in LOST:
                self.problem = error
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.problem = error

    def _one_life(self, number):
        model = self._publish(f"models/{self.prefix}/versions/v{number}")
        assembly = self._assemble(f"assemblies/{self.prefix}-a{number}", model)
        if number % 3 == 2:
            self._retire(assembly, model)

    def _publish(self, name):
        api, ledger, count = self.api.models, self.ledger, self.random.randint(1, 12)
        request_id = f"create-{name}"
        model = Model(
            name,
            count,
            ledger.saw(
                api.CreateModelVersion(
                    model_version={"name": name, "shard_count": count, "tensor_count": count, "companion_count": 1},
                    request_id=request_id,
                )
            ),
            request_id,
        )
        ledger.models.append(model)
        shards = [self._shard(i) for i in range(count)]
        half = count // 2
        for batch in (shards[:half], shards[half:]):
            if batch:
                ledger.saw(api.AddShards(name=name, shards=batch))
                model.shards.update({shard["index"]: shard for shard in batch})
        for shard in shards:
            tensor = {"name": f"t{shard['index']}", "dtype": "U8", "shape": [16], "begin_bytes": 0, "end_bytes": 16}
            ledger.saw(api.AddTensors(name=f"{name}/shards/{shard['index']}", start=0, tensors=[tensor]))
            model.tensors.append(tensor["name"])
        companion = {"path": "config.json", "size_bytes": 2, "md5": "a" * 32, "locations": [{"uri": "file:///c"}]}
        ledger.saw(api.AddCompanions(name=name, companions=[companion]))
        model.companions.append("config.json")
        ledger.saw(api.CommitModelVersion(name=name))
        model.committed = True
        extra = f"file:///mirror/{self.random.getrandbits(64):x}"
        ledger.saw(api.AddLocations(name=name, entries=[{"shard": 0, "location": {"uri": extra}}]))
        model.locations[0] = extra
        return model

    def _shard(self, index):
        return {
            "index": index,
            "size_bytes": self.random.randint(1, 100) * MIB,
            "md5": f"{self.random.getrandbits(128):032x}",
            "tensor_count": 1,
            "locations": [{"uri": f"file:///store/{self.random.getrandbits(64):x}"}],
        }

    def _assemble(self, name, model):
        api, ledger = self.api, self.ledger
        node = self._register()
        reply = api.assemblies.CreateAssembly(
            assembly={"name": name, "model_version": model.name, "policy": "FULL", "min_nodes": 1},
            request_id=f"create-{name}",
        )
        assembly = Assembly(name, model.name, ledger.saw(reply))
        ledger.assemblies.append(assembly)
        ledger.saw(
            api.assemblies.JoinAssembly(name=name, node=node.name, epoch=node.epoch, claim={"kind": "SHARDS", "shards": [0]})
        )
        assembly.member = node.name
        generation = 0
        while not generation:
            generation = ledger.saw(api.assemblies.GetAssembly(name=name)).assembly.generation
        for shard in range(model.shard_count):
            reply = api.assemblies.ReportShards(
                node=node.name,
                epoch=node.epoch,
                assembly=name,
                reports=[{"shard": shard, "generation": generation, "state": "READY"}],
            )
            if not ledger.saw(reply).rejected:
                assembly.ready_shards.append(shard)
        return assembly

    def _register(self):
        """The writer's one node: registered at first, then again under a newer epoch now and then."""
        name = f"nodes/{self.prefix}"
        if self.ledger.nodes and self.random.random() < 0.7:
            return self.ledger.nodes[0]
        # A newer epoch resets the node's reports, so nothing is expected of the earlier ones any more.
        for assembly in self.ledger.assemblies:
            assembly.ready_shards = []
        for node in self.ledger.nodes:
            node.newer_epoch_asked = True
        reply = self.ledger.saw(
            self.api.nodes.RegisterNode(node={"name": name, "capacity_bytes": 1 << 50}, lease_ttl={"seconds": 3600})
        )
        self.ledger.nodes = [Node(name, reply)]
        return self.ledger.nodes[0]

    def _retire(self, assembly, model):
        assembly.deletion = "asked"
        self.ledger.saw(self.api.assemblies.DeleteAssembly(name=assembly.name))
        assembly.deletion = "gone"
        model.deletion = "asked"
        self.ledger.saw(self.api.models.DeleteModelVersion(name=model.name))
        model.deletion = "gone"


def check_ledger(api, ledger):
    """Asserts that all that was acknowledged is there, and that nothing went back behind what a reply has shown."""
    for model in ledger.models:
        _check_model(api, ledger, model)
    for node in ledger.nodes:
        found = api.nodes.GetNode(name=node.name).node
        assert found.uid == node.uid, node.name
        assert found.epoch >= node.epoch, node.name
        assert found.epoch == node.epoch or node.newer_epoch_asked, node.name
    for assembly in ledger.assemblies:
        _check_assembly(api, assembly)


def _gone(call, item):
    """True when the item was to be deleted, and is: the rest of its checks are void."""
    if item.deletion is None:
        return False
    try:
        call(name=item.name)
    except ApiError as error:
        assert error.code.name == "NOT_FOUND", str(error)
        return True
    assert item.deletion == "asked", f"{item.name} is there though its deletion was acknowledged"
    return False


def _check_model(api, ledger, model):
    models = api.models
    if _gone(models.GetModelVersion, model):
        return
    reply = models.GetModelVersion(name=model.name)
    assert reply.revision >= ledger.revision, f"revision {reply.revision} after {ledger.revision} was shown"
    found = reply.model_version
    assert found.uid == model.uid, model.name
    assert found.shard_count == model.shard_count, model.name
    assert not model.committed or found.state == found.COMMITTED, model.name
    listed = api.paged(models.ListShards, "shards", page_size=5, name=model.name)
    shards = {shard.index: shard for shard in listed}
    assert len(shards) == len(listed), f"{model.name}: a shard is listed twice"
    for index, wanted in model.shards.items():
        assert index in shards, f"{model.name}: acknowledged shard {index} is gone"
        shard = shards[index]
        assert (shard.size_bytes, shard.md5) == (wanted["size_bytes"], wanted["md5"]), shard.name
        uris = {location.uri for location in shard.locations}
        assert wanted["locations"][0]["uri"] in uris, shard.name
        assert index not in model.locations or model.locations[index] in uris, shard.name
    tensors = {tensor.name for tensor in api.paged(models.ListTensors, "tensors", name=model.name)}
    assert set(model.tensors) <= tensors, model.name
    companions = {one.path for one in api.paged(models.ListCompanions, "companions", name=model.name)}
    assert set(model.companions) <= companions, model.name
    # The same request again gets the reply of then.
    again = models.CreateModelVersion(
        model_version={
            "name": model.name,
            "shard_count": model.shard_count,
            "tensor_count": model.shard_count,
            "companion_count": 1,
        },
        request_id=model.request_id,
    )
    assert again.model_version.uid == model.uid, f"{model.name}: request id forgotten"


def _check_assembly(api, assembly):
    if _gone(api.assemblies.GetAssembly, assembly):
        return
    reply = api.assemblies.GetAssembly(name=assembly.name)
    assert reply.assembly.uid == assembly.uid, assembly.name
    assert reply.assembly.model_version == assembly.model, assembly.name
    if assembly.member:
        assert [member.node for member in reply.members] == [assembly.member], assembly.name
        assert list(reply.members[0].claim.shards) == [0], assembly.name
    for shard in assembly.ready_shards:
        status = api.assemblies.GetShardStatus(name=assembly.name, shard=shard)
        states = [replica.state for replica in status.replicas]
        assert states == [assembly_pb2.ShardReport.READY], f"{assembly.name} shard {shard}: {states}"
        assert status.replicas[0].counted, f"{assembly.name} shard {shard}"
