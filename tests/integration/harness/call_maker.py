"""Makes calls of every RPC from the descriptors, by a seed: valid ones, half-valid ones, and ones that mean harm.

What a call names is either the hostile caller's own, or made up, or belongs to others. What belongs to others it only
reads, or quotes with an epoch that is not theirs: calls are not authenticated, and what a valid call may do to others is
not what this looks for.
"""

import hashlib
import random

from google.protobuf.descriptor import FieldDescriptor

from harness.api import (
    access_pb2, assembly_pb2, enrolment_pb2, event_pb2, key_pb2, model_pb2, node_pb2, server_pb2,
)  # fmt: skip

MODULES = (model_pb2, node_pb2, assembly_pb2, event_pb2, access_pb2, server_pb2, key_pb2, enrolment_pb2)
OTHERS = {"node": "nodes/honest", "assembly": "assemblies/honest", "model_version": "models/honest/versions/v1"}
# Methods that name what belongs to others without being able to change it.
READING = ("Get", "List", "Watch", "Explain")

EDGES_32 = [0, 1, 2, 7, 63, 64, 999, 1_000, 1_001, 100_000, 100_001, 2**31 - 1, 2**31, 2**32 - 1]
EDGES_64 = [0, 1, 8 << 20, 2**32 - 1, 2**32, 2**53, 2**60, 2**60 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
SIGNED = [0, 1, -1, 7, 1_000, 2**31 - 1, -(2**31)]
SIGNED_64 = SIGNED + [2**62, 2**63 - 1, -(2**63)]
STRINGS = [
    "",
    " ",
    "a",
    "..",
    "/",
    "nodes/",
    "nodes/../honest",
    "nodes/h0/extra",
    "models/m0",
    "models/m0/versions/",
    "models/m0/versions/v0/shards/4294967296",
    "assemblies/\x00",
    "assemblies/\u202egnp.exe",
    "assemblies/%2e%2e",
    "\n\x1b[31mred\x1b[0m",
    "nodes/" + "x" * 254,
    "x" * 5_000,
    "é" * 3_000,
    "{'json': [[[[[[",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]:7070/",
    "s3://bucket/../key",
    "hdfs://a@b:99999/x",
    "ftp://nobody/x",
    "file:///" + "a/" * 2_047,
]
COUNTS = [0, 1, 1, 2, 3, 5, 17, 64]
BIG_COUNTS = [999, 1_000, 1_001, 5_000]
STORIES = 100
# Of numbers, which are small on the wire.
HUGE_COUNTS = [10_000, 50_001, 200_000]


def methods():
    """(service's full name, method's descriptor) of every RPC."""
    return [
        (service.full_name, method)
        for module in MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


def md5_of(text):
    return hashlib.md5(text.encode()).hexdigest()


class Call:
    """One request: where it goes, its bytes, and whether they are a message at all."""

    def __init__(self, service, method, request, decodable=True):
        self.method = method
        self.path = f"/{service}/{method.name}"
        self.request = request
        self.decodable = decodable

    @property
    def streams(self):
        return self.method.server_streaming

    def __str__(self):
        return f"{self.path} with {len(self.request)} bytes, {self.request[:80]!r}"


class CallMaker:
    """next() returns calls. learn() tells it what a reply said. Not thread-safe."""

    def __init__(self, seed, new_names=0.003):
        """`new_names`: how often a name is one that nobody has used yet. What is made under them stays."""
        self._random = random.Random(seed)
        self._new_names = new_names
        self._methods = methods()
        self._by_name = {method.name: (service, method) for service, method in self._methods}
        self._epochs = {}
        self._generations = {}
        # By node, one of its assignments: assembly, shard, generation. By assembly, its model version.
        self._held = {}
        self._versions = {}
        self._learned = {"page_token": [""], "uid": [""], "revision": [0]}
        self._made = 0
        # Told side by side, so that a story's call has mostly been answered when its next one is made.
        self._stories = [iter(())] * STORIES

    # --- what a reply teaches

    def learn(self, call, reply):
        """Keeps what later calls can quote: epochs, generations, page tokens, uids, revisions."""
        message = type(reply).DESCRIPTOR.name
        if message == "RegisterNodeResponse":
            self._epochs[reply.node.name] = reply.epoch
            self._keep("uid", reply.node.uid)
        if message == "GetShardStatusResponse":
            assembly = assembly_pb2.GetShardStatusRequest.FromString(call.request).name
            for replica in reply.replicas:
                self._generations[replica.node] = replica.generation
                self._held[replica.node] = (assembly, reply.shard, replica.generation)
        if message in ("CreateAssemblyResponse", "GetAssemblyResponse"):
            self._versions[reply.assembly.name] = reply.assembly.model_version
        if message in ("CreateAssemblyResponse", "GetAssemblyResponse"):
            self._keep("uid", reply.assembly.uid)
        self._keep("page_token", getattr(reply, "next_page_token", ""))
        self._keep("revision", getattr(reply, "revision", 0))

    def _keep(self, what, value):
        kept = self._learned[what]
        if value and len(kept) >= 64:
            kept[self._random.randrange(len(kept))] = value
        elif value:
            kept.append(value)

    # --- calls

    def next(self):
        """Stories make the states that single calls would hardly ever reach; single calls then meet these states."""
        self._made += 1
        kind = self._random.random()
        if kind < 0.45:
            told = self._random.randrange(STORIES)
            call = next(self._stories[told], None)
            if call is None:
                self._stories[told] = self._tell()
                call = next(self._stories[told])
            return self._spoil(call) if self._random.random() < 0.3 else call
        service, method = self._random.choice(self._methods)
        request = self._message(method.input_type, method)
        call = Call(service, method, request.SerializeToString())
        return self._garble(call) if kind > 0.97 else call

    def _call(self, rpc, **fields):
        service, method = self._by_name[rpc]
        return Call(service, method, method.input_type._concrete_class(**fields).SerializeToString())

    def _spoil(self, call):
        """One field of a good call becomes something else, however deep it lies."""
        message = call.method.input_type._concrete_class.FromString(call.request)
        inner = message
        while True:
            field = self._random.choice(inner.DESCRIPTOR.fields)
            if field.message_type is None or field.message_type.GetOptions().map_entry or self._random.random() < 0.2:
                break
            items = getattr(inner, field.name)
            if field.is_repeated and not items:
                break
            inner = self._random.choice(items) if field.is_repeated else items
        self._set(inner, field, call.method, often_huge=True)
        return Call(call.path.split("/")[1], call.method, message.SerializeToString())

    def _garble(self, call):
        """Bytes that are no message of the type, or one with fields that nobody knows."""
        dice = self._random
        data = bytearray(call.request)
        kind = dice.randrange(4)
        if kind == 0:
            data = data[: dice.randrange(len(data) + 1)]
        elif kind == 1 and data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        elif kind == 2:
            data = bytearray(dice.randbytes(dice.choice([1, 10, 1_000, 70_000])))
        else:
            data += b"\xfa\x7f\x10" + dice.randbytes(16)  # Field 2047, 16 bytes.
        return Call(call.path.split("/")[1], call.method, bytes(data), decodable=False)

    # --- good calls in an order that leads somewhere

    def _tell(self):
        stories = [self._publish, self._publish, self._describe, self._load, self._load, self._load]
        stories += [self._fetch, self._update, self._leave, self._remove, self._read]
        return self._random.choice(stories)()

    def _publish(self):
        dice = self._random
        name = self._own("model_version")
        shards = dice.choice([1, 2, 3, 8, 40, 1_500])
        yield self._call(
            "CreateModelVersion",
            model_version={"name": name, "shard_count": shards},
            request_id=f"r{self._made}" if dice.random() < 0.5 else "",
        )
        for begin in range(0, shards, 1_000):
            yield self._call(
                "AddShards", name=name, shards=[self._shard(name, i) for i in range(begin, min(begin + 1_000, shards))]
            )
        if dice.random() < 0.8:
            yield self._call("CommitModelVersion", name=name)

    def _describe(self):
        """A version with tensors and companions, and what is read of its shards."""
        dice = self._random
        name = self._own("model_version")
        shard = f"{name}/shards/0"
        yield self._call("DeleteModelVersion", name=name)
        yield self._call(
            "CreateModelVersion", model_version={"name": name, "shard_count": 1, "tensor_count": 3, "companion_count": 1}
        )
        if dice.random() < 0.5:
            yield self._call("CreateContentKey", name=name)
            yield self._call("GetContentKey", name=name)
        whole = {**self._shard(name, 0), "tensor_count": 3, "size_bytes": 3 << 20}
        pieces = b"".join(bytes.fromhex(md5_of(f"{name}/{i}")) for i in range(3))
        whole.update(piece_size_bytes=1 << 20, piece_md5s=pieces, root=hashlib.md5(pieces).hexdigest())
        yield self._call("AddShards", name=name, shards=[whole])
        tensors = [
            {"name": f"t{i}", "dtype": "U8", "shape": [1 << 20], "begin_bytes": i << 20, "end_bytes": (i + 1) << 20}
            for i in range(3)
        ]
        yield self._call("AddTensors", name=shard, start=0, tensors=tensors)
        companion = {"path": "config.json", "size_bytes": 1, "md5": md5_of("x"), "locations": [{"uri": "file:///c"}]}
        yield self._call("AddCompanions", name=name, companions=[companion])
        yield self._call("CommitModelVersion", name=name, validate_only=dice.random() < 0.2)
        yield self._call("AddLocations", name=name, entries=[{"shard": 0, "location": {"uri": "file:///b", "max_readers": 1}}])
        yield self._call("GetShard", name=shard)
        yield self._call("ListPieces", name=shard, hex=dice.random() < 0.5)
        yield self._call("ListTensors", name=name, page_size=1)
        node = self._own("node")
        for method in ("AcquireRead", "ReleaseRead"):
            yield self._call(method, name=node, epoch=self._epochs.get(node, 1), shard=shard, uri="file:///b")
        yield self._call("RemoveLocations", name=name, entries=[{"shard": 0, "uri": "file:///b"}])

    @staticmethod
    def _shard(version, index):
        return {
            "index": index,
            "size_bytes": 1 + index % 1_000,
            "md5": md5_of(f"{version}/{index}"),
            "rank": index % 8,
            "locations": [{"uri": f"file:///nowhere/{index}", "max_readers": index % 3}],
        }

    def _load(self):
        dice = self._random
        assembly, version = self._own("assembly"), self._own("model_version")
        policy = dice.choice(list(assembly_pb2.Assembly.Policy.values()))
        yield self._call(
            "CreateAssembly",
            assembly={
                "name": assembly,
                "model_version": dice.choice([version, version, OTHERS["model_version"]]),
                "policy": policy,
                "min_nodes": dice.choice([1, 1, 2, 5]),
                "replicas": dice.choice([0, 1, 2, 100]),
            },
        )
        nodes = [self._own("node") for _ in range(dice.choice([1, 2, 5]))]
        for node in nodes:
            if node not in self._epochs or dice.random() < 0.2:
                yield self._call(
                    "RegisterNode",
                    node={"name": node, "capacity_bytes": dice.choice([0, 1, 5_000, 2**40]), "zone": dice.choice("xyz")},
                    lease_ttl={"seconds": dice.choice([1, 60, 3_600])},
                )
            claim = dice.choice([{"kind": "ANY"}, {"kind": "ALL"}, {"kind": "SHARDS", "shards": [0, 1, 2]}])
            yield self._call("JoinAssembly", name=assembly, node=node, epoch=self._epochs.get(node, 1), claim=claim)
        for _ in range(3):
            yield self._call("GetShardStatus", name=assembly, shard=dice.randrange(8))
            node = dice.choice(nodes)
            epoch = self._epochs.get(node, 1)
            yield self._call(
                "AcquireRead", name=node, epoch=epoch, shard=f"{version}/shards/1", uri="file:///nowhere/1"
            )
            state = dice.choice(["READY", "READY", "READY", "FETCHING", "FAILED"])
            reports = [
                {"shard": shard, "generation": self._generations.get(node, 1), "state": state} for shard in range(40)
            ]
            yield self._call("ReportShards", node=node, epoch=epoch, assembly=assembly, reports=reports)
            yield self._call("Heartbeat", name=node, epoch=epoch)

    def _fetch(self):
        """What an agent does with an assignment, for one that is known."""
        assembly = self._own("assembly")
        yield self._call("GetAssembly", name=assembly)
        yield self._call("GetShardStatus", name=assembly, shard=self._random.choice([0, 1, 2, 4, 5]))
        mine = [node for node, held in self._held.items() if node in self._epochs and held[0] in self._versions]
        for node in mine[:8]:
            held_in, shard, generation = self._held[node]
            quoted = {"epoch": self._epochs[node]}
            read = {"shard": f"{self._versions[held_in]}/shards/{shard}", "uri": f"file:///nowhere/{shard}"}
            yield self._call("AcquireRead", name=node, **quoted, **read)
            report = {"shard": shard, "generation": generation, "state": "READY"}
            yield self._call("ReportShards", node=node, **quoted, assembly=held_in, reports=[report])
            yield self._call("ReleaseRead", name=node, **quoted, **read)

    def _update(self):
        dice = self._random
        for _ in range(3):
            yield self._call(
                "UpdateAssembly",
                assembly={"name": self._own("assembly"), "replicas": dice.choice([1, 2, 3]), "min_nodes": 1},
                update_mask={"paths": dice.choice([["replicas"], ["min_nodes"], ["replicas", "min_nodes"]])},
            )
            yield self._call(
                "UpdateNode",
                node={"name": self._own("node"), "capacity_bytes": dice.choice([0, 5_000, 2**40]), "labels": {"a": "b"}},
                update_mask={"paths": dice.choice([["capacity_bytes"], ["labels"]])},
            )
            yield self._call("ListAssemblyMembers", name=self._own("assembly"), page_size=dice.choice([0, 1, 1_000]))

    def _leave(self):
        node = self._own("node")
        yield self._call("DrainNode", name=node, deadline={"seconds": 1})
        yield self._call("LeaveAssembly", name=self._own("assembly"), node=node, epoch=self._epochs.get(node, 1))
        yield self._call("DrainNode", name=node, cancel=True)
        yield self._call("DeregisterNode", name=self._own("node"))
        yield self._call("ResumeMoves")

    def _remove(self):
        yield self._call("DeleteAssembly", name=self._own("assembly"))
        yield self._call("DeleteModelVersion", name=self._own("model_version"))
        # An assembly uses it.
        yield self._call("DeleteModelVersion", name=OTHERS["model_version"])

    def _read(self):
        dice = self._random
        for method in ("ListNodes", "ListAssemblies", "ListModelVersions", "ListEvents"):
            yield self._call(method, page_size=dice.choice([0, 1, 1_000, 2**32 - 1]))
        yield self._call("ListEvents", tail=dice.choice([1, 1_000, 100_000, 2**32 - 1]))
        yield self._call("CheckAccess", verb=dice.choice(["read", "admin", "fly"]), resource=self._own("model_version"))
        yield self._call("ExplainAssignment", name=self._own("assembly"), shard=0)
        yield self._call("JoinAssembly", name=self._own("assembly"), node=self._own("node"), validate_only=True)

    # --- values

    def _own(self, what):
        dice = self._random
        # One of a few names, so that calls meet; now and then a new one.
        number = self._made if dice.random() < self._new_names else dice.randrange(12)
        if what == "node":
            return f"nodes/h{number}"
        if what == "assembly":
            return f"assemblies/h{number}"
        return f"models/h{number % 4}/versions/v{number}"

    def _name(self, what, method):
        """Mostly the caller's own; what belongs to others where the method can't change it."""
        dice = self._random
        if method.name.startswith(READING) and dice.random() < 0.3:
            return OTHERS[what]
        return self._own(what) if dice.random() < 0.85 else dice.choice(STRINGS)

    def _message(self, descriptor, method):
        message = descriptor._concrete_class()
        for field in descriptor.fields:
            if self._random.random() < 0.7:
                self._set(message, field, method)
        return message

    def _set(self, message, field, method, often_huge=False):
        dice = self._random
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(dice.choice([0, 1, 3, 64, 65])):
                getattr(message, field.name)[dice.choice(["a", "b", f"k{dice.random()}", *STRINGS])] = dice.choice(STRINGS)
            return
        if not field.is_repeated:
            if field.message_type is not None:
                getattr(message, field.name).CopyFrom(self._message(field.message_type, method))
            else:
                setattr(message, field.name, self._scalar(field, method))
            return
        numbers = field.message_type is None and field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
        count = dice.choice(COUNTS)
        if dice.random() < (0.5 if often_huge else 0.02):
            count = dice.choice(HUGE_COUNTS if numbers else BIG_COUNTS)
        message.ClearField(field.name)
        values = getattr(message, field.name)
        if field.message_type is not None:
            # Many items are copies of a few: what is looked for is in the server, and making them takes time.
            few = [self._message(field.message_type, method) for _ in range(min(count, 4))]
            values.extend(few[i % len(few)] for i in range(count))
        elif count > 64:
            few = [self._scalar(field, method) for _ in range(4)]
            values.extend(few[i % 4] if dice.random() < 0.1 else i for i in range(count)) if numbers else values.extend(
                few[i % 4] for i in range(count)
            )
        else:
            values.extend(self._scalar(field, method) for _ in range(count))

    def _scalar(self, field, method):
        dice = self._random
        kind = field.type
        if kind == FieldDescriptor.TYPE_STRING:
            return self._text(field, method)
        if kind == FieldDescriptor.TYPE_BYTES:
            return dice.randbytes(dice.choice([0, 1, 15, 16, 17, 160, 16 * 10_000, 16 * 10_001]))
        if kind == FieldDescriptor.TYPE_BOOL:
            return dice.random() < 0.5
        if kind == FieldDescriptor.TYPE_ENUM:
            known = [value.number for value in field.enum_type.values]
            return dice.choice(known) if dice.random() < 0.85 else dice.choice([-1, 99, 2**31 - 1, -(2**31)])
        if field.name in ("epoch", "generation") and dice.random() < 0.7:
            quoted = self._epochs if field.name == "epoch" else self._generations
            return dice.choice(list(quoted.values()) or [1])
        if field.name.endswith("revision") and dice.random() < 0.7:
            return dice.choice(self._learned["revision"])
        if kind in (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_FIXED32):
            return dice.randrange(12) if dice.random() < 0.6 else dice.choice(EDGES_32)
        if kind in (FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64):
            return dice.randrange(4_096) if dice.random() < 0.5 else dice.choice(EDGES_64)
        return dice.choice(SIGNED if kind == FieldDescriptor.TYPE_INT32 else SIGNED_64)

    def _text(self, field, method):
        dice = self._random
        if dice.random() < 0.1:
            return dice.choice(STRINGS)
        name = field.name
        if name == "name":
            return self._name(self._resource(field, method), method)
        if name in OTHERS:
            return self._name(name, method)
        if name == "shard":
            return self._own("model_version") + f"/shards/{dice.choice([0, 1, 2**32])}"
        if name in self._learned:
            return dice.choice(self._learned[name])
        if name in ("md5", "root", "expected_md5", "found_md5"):
            return md5_of(str(dice.randrange(64)))
        if name == "sha256":
            return hashlib.sha256(b"x").hexdigest()
        if name in ("uri", "location"):
            return f"file:///nowhere/{dice.randrange(8)}"
        if name == "request_id":
            return f"r{dice.randrange(100_000)}"
        return dice.choice(["", "x", "y", f"{name}-{dice.randrange(16)}"])

    @staticmethod
    def _resource(field, method):
        """What `name` means: by the message where that is a resource, else by the service."""
        message = field.containing_type.name
        if message in ("Node", "Assembly", "ModelVersion"):
            return {"Node": "node", "Assembly": "assembly", "ModelVersion": "model_version"}[message]
        service = method.containing_service.name
        return {"NodeService": "node", "AssemblyService": "assembly"}.get(service, "model_version")
