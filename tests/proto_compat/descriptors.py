"""Descriptor sets, as protoc writes them, read without any library: the parts that compatibility depends on."""

import dataclasses
import pathlib
import subprocess
import tempfile


@dataclasses.dataclass(frozen=True)
class Field:
    name: str
    number: int
    # "uint32", "message .muster.v1.Node"
    type: str
    repeated: bool
    # Of a oneof, or with a presence of its own ("optional").
    oneof: str


@dataclasses.dataclass
class Message:
    fields: dict = dataclasses.field(default_factory=dict)
    # Numbers and names that must not come back.
    reserved_numbers: set = dataclasses.field(default_factory=set)
    reserved_names: set = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class Rpc:
    request: str
    response: str
    client_streams: bool
    server_streams: bool


@dataclasses.dataclass
class Contract:
    """By full name: messages, enums (name to number), services (RPC name to Rpc)."""

    messages: dict = dataclasses.field(default_factory=dict)
    enums: dict = dataclasses.field(default_factory=dict)
    services: dict = dataclasses.field(default_factory=dict)


TYPES = (
    "? double float int64 uint64 int32 fixed64 fixed32 bool string group message bytes uint32 enum sfixed32 sfixed64 "
    "sint32 sint64"
).split()


def _varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _parse(data):
    """The fields of a message by number, each a list of ints or bytes."""
    out, at = {}, 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
        elif key & 7 == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if len(value) != size:
                raise ValueError("the descriptor set is cut short")
        elif key & 7 in (1, 5):
            size = 8 if key & 7 == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7} in a descriptor set")
        out.setdefault(key >> 3, []).append(value)
    return out


def _text(parsed, number):
    return parsed.get(number, [b""])[-1].decode()


def _flag(parsed, number):
    return bool(parsed.get(number, [0])[-1])


def _add_enum(contract, package, parsed):
    values = [_parse(value) for value in parsed.get(2, [])]
    contract.enums[f"{package}.{_text(parsed, 1)}"] = {_text(value, 1): value.get(2, [0])[-1] for value in values}


def _add_message(contract, package, parsed):
    name = f"{package}.{_text(parsed, 1)}"
    message = contract.messages[name] = Message()
    oneofs = [_text(_parse(oneof), 1) for oneof in parsed.get(8, [])]
    for field in map(_parse, parsed.get(2, [])):
        kind = TYPES[field[5][-1]]
        if kind in ("message", "enum"):
            kind += " " + _text(field, 6)
        oneof = oneofs[field[9][-1]] if 9 in field else ""
        message.fields[_text(field, 1)] = Field(_text(field, 1), field[3][-1], kind, field.get(4) == [3], oneof)
    for piece in map(_parse, parsed.get(9, [])):
        message.reserved_numbers.update(range(piece[1][-1], piece[2][-1]))
    message.reserved_names.update(text.decode() for text in parsed.get(10, []))
    for nested in map(_parse, parsed.get(3, [])):
        _add_message(contract, name, nested)
    for enum in map(_parse, parsed.get(4, [])):
        _add_enum(contract, name, enum)


def read(data):
    """The Contract of a serialised FileDescriptorSet."""
    contract = Contract()
    for file in map(_parse, _parse(data).get(1, [])):
        package = "." + _text(file, 2)
        for message in map(_parse, file.get(4, [])):
            _add_message(contract, package, message)
        for enum in map(_parse, file.get(5, [])):
            _add_enum(contract, package, enum)
        for service in map(_parse, file.get(6, [])):
            contract.services[f"{package}.{_text(service, 1)}"] = {
                _text(rpc, 1): Rpc(_text(rpc, 2), _text(rpc, 3), _flag(rpc, 5), _flag(rpc, 6))
                for rpc in map(_parse, service.get(2, []))
            }
    return contract


def compile_protos(protoc, root):
    """The serialised descriptor set of all of Muster's protos below `root`."""
    files = sorted(str(path.relative_to(root)) for path in (root / "muster").rglob("*.proto"))
    if not files:
        raise ValueError(f"there are no protos below {root}")
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "set"
        subprocess.run([protoc, f"--proto_path={root}", f"--descriptor_set_out={out}", *files], check=True)
        return out.read_bytes()
