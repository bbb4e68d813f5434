"""The gRPC API by Python's own gRPC: independent of our client library."""

import importlib
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[3]
CALL_TIMEOUT = 20.0


def _generate():
    """Makes the Python modules of proto/ in a directory that lives as long as this process."""
    directory = tempfile.TemporaryDirectory(prefix="muster-proto-")
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    names = ["google/rpc/error_details.proto", "google/rpc/status.proto"]
    names += [str(path.relative_to(ROOT / "proto")) for path in sorted((ROOT / "proto/muster/v1").glob("*.proto"))]
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"-I{include}", f"--python_out={directory.name}"]
    arguments += [f"--grpc_python_out={directory.name}", *names]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refuses the protos")
    # google.rpc has to be found beside the installed google.protobuf, which is a namespace package.
    sys.path.insert(0, directory.name)
    google = importlib.import_module("google")
    google.__path__.append(f"{directory.name}/google")
    return directory


_DIRECTORY = _generate()
model_pb2 = importlib.import_module("muster.v1.model_pb2")
node_pb2 = importlib.import_module("muster.v1.node_pb2")
assembly_pb2 = importlib.import_module("muster.v1.assembly_pb2")
event_pb2 = importlib.import_module("muster.v1.event_pb2")
access_pb2 = importlib.import_module("muster.v1.access_pb2")
server_pb2 = importlib.import_module("muster.v1.server_pb2")
key_pb2 = importlib.import_module("muster.v1.key_pb2")
enrolment_pb2 = importlib.import_module("muster.v1.enrolment_pb2")
enrolment_pb2 = importlib.import_module("muster.v1.enrolment_pb2")
key_pb2 = importlib.import_module("muster.v1.key_pb2")
status_pb2 = importlib.import_module("google.rpc.status_pb2")
error_details_pb2 = importlib.import_module("google.rpc.error_details_pb2")
_STUBS = {
    "models": importlib.import_module("muster.v1.model_pb2_grpc").ModelServiceStub,
    "nodes": importlib.import_module("muster.v1.node_pb2_grpc").NodeServiceStub,
    "assemblies": importlib.import_module("muster.v1.assembly_pb2_grpc").AssemblyServiceStub,
    "events": importlib.import_module("muster.v1.event_pb2_grpc").EventServiceStub,
    "access": importlib.import_module("muster.v1.access_pb2_grpc").AccessServiceStub,
    "server": importlib.import_module("muster.v1.server_pb2_grpc").ServerServiceStub,
    "keys": importlib.import_module("muster.v1.key_pb2_grpc").KeyServiceStub,
    "enrolment": importlib.import_module("muster.v1.enrolment_pb2_grpc").EnrolmentServiceStub,
    "enrolment": importlib.import_module("muster.v1.enrolment_pb2_grpc").EnrolmentServiceStub,
    "keys": importlib.import_module("muster.v1.key_pb2_grpc").KeyServiceStub,
}

READY = assembly_pb2.Assembly.READY
DEGRADED = assembly_pb2.Assembly.DEGRADED
WAITING = assembly_pb2.Assembly.WAITING


class ApiError(Exception):
    """A call's status, with the ErrorInfo that it carried."""

    def __init__(self, method, error):
        self.code = error.code()
        self.message = error.details()
        self.info = error_details_pb2.ErrorInfo()
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self._read_details(value)
        super().__init__(f"{method}: {self.code.name} {self.reason} {self.message}")

    def _read_details(self, value):
        status = status_pb2.Status()
        status.ParseFromString(value)
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                detail.Unpack(self.info)

    @property
    def reason(self):
        return self.info.reason

    @property
    def metadata(self):
        return dict(self.info.metadata)


class _Service:
    """Calls of one service by name: service.GetNode(name="nodes/n1") returns the response or raises ApiError."""

    def __init__(self, stub, module):
        self._stub, self._module = stub, module

    def __getattr__(self, method):
        request_class = getattr(self._module, f"{method}Request")

        def call(timeout=CALL_TIMEOUT, **fields):
            try:
                return getattr(self._stub, method)(request_class(**fields), timeout=timeout)
            except grpc.RpcError as error:
                raise ApiError(method, error) from None

        return call


class Api:
    """One channel to one server. Thread-safe."""

    def __init__(self, address, credentials=None):
        # Connects again soon after a restart, and shares no connection with other channels of this process. The minimum bounds
        # how long a connection may take to be made, on a busy machine too.
        options = [
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 2000),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options)
        self.models = _Service(_STUBS["models"](self.channel), model_pb2)
        self.nodes = _Service(_STUBS["nodes"](self.channel), node_pb2)
        self.assemblies = _Service(_STUBS["assemblies"](self.channel), assembly_pb2)
        self.events = _Service(_STUBS["events"](self.channel), event_pb2)
        self.access = _Service(_STUBS["access"](self.channel), access_pb2)
        self.server = _Service(_STUBS["server"](self.channel), server_pb2)
        self.keys = _Service(_STUBS["keys"](self.channel), key_pb2)
        self.enrolment = _Service(_STUBS["enrolment"](self.channel), enrolment_pb2)
        self.enrolment = _Service(_STUBS["enrolment"](self.channel), enrolment_pb2)
        self.keys = _Service(_STUBS["keys"](self.channel), key_pb2)

    def close(self):
        self.channel.close()

    def serving(self, service=""):
        """Whether the standard health service says SERVING."""
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        # HealthCheckRequest.service and HealthCheckResponse.status are the fields number 1; SERVING is 1.
        name = service.encode()
        return check(bytes([0x0A, len(name)]) + name if name else b"", timeout=CALL_TIMEOUT) == b"\x08\x01"

    def assembly(self, name):
        return self.assemblies.GetAssembly(name=f"assemblies/{name}").assembly

    def is_ready(self, name):
        return self.assembly(name).state == READY

    def shards(self, model, version):
        """All shards of a model version, page by page."""
        return self.paged(self.models.ListShards, "shards", name=f"models/{model}/versions/{version}")

    @staticmethod
    def paged(method, field, page_size=1000, **fields):
        items, token = [], ""
        while True:
            page = method(page_size=page_size, page_token=token, **fields)
            items.extend(getattr(page, field))
            token = page.next_page_token
            if not token:
                return items
