#!/usr/bin/env python3
"""Compares the protos with those of the last release: clients and stores of that release have to go on working.

    proto_compat.py --protoc protoc            # says what is broken; exit code 1 if something is
    proto_compat.py --protoc protoc --refresh  # at a release: what is there now is what has to stay

Things may be added. What is there may not be removed, renamed (JSON and grpcurl go by names), given another number, type or
presence. A field may go if its number and its name are reserved.
"""

import argparse
import pathlib
import sys

import descriptors

HERE = pathlib.Path(__file__).resolve().parent
RELEASED = HERE / "released.binpb"


def compare_messages(old, new):
    for name, message in old.messages.items():
        present = new.messages.get(name)
        if present is None:
            yield f"message {name} is gone"
            continue
        numbers = {field.number: field for field in present.fields.values()}
        for field in message.fields.values():
            yield from compare_field(name, field, present, numbers)
        for number in sorted(message.reserved_numbers - present.reserved_numbers):
            yield f"{name}: the number {number} is no longer reserved"
        for reserved in sorted(message.reserved_names - present.reserved_names):
            yield f"{name}: the name {reserved} is no longer reserved"


def compare_field(message, old, present, numbers):
    where = f"{message}.{old.name}"
    field = present.fields.get(old.name)
    if field is None:
        if old.number in numbers:
            yield f"{where}: number {old.number} is {numbers[old.number].name} now"
        elif old.number not in present.reserved_numbers or old.name not in present.reserved_names:
            yield f"{where} is gone, and its number {old.number} and its name are not both reserved"
        return
    if field.number != old.number:
        yield f"{where}: number {old.number} became {field.number}"
    if field.type != old.type:
        yield f"{where}: type {old.type} became {field.type}"
    if field.repeated != old.repeated:
        yield f"{where}: {'repeated' if old.repeated else 'single'} became {'repeated' if field.repeated else 'single'}"
    if field.oneof != old.oneof:
        yield f"{where}: presence changed ({old.oneof or 'none'} became {field.oneof or 'none'})"


def compare_enums(old, new):
    for name, values in old.enums.items():
        present = new.enums.get(name)
        if present is None:
            yield f"enum {name} is gone"
            continue
        for value, number in values.items():
            if value not in present:
                yield f"{name}.{value} is gone"
            elif present[value] != number:
                yield f"{name}.{value}: number {number} became {present[value]}"


def compare_services(old, new):
    for name, rpcs in old.services.items():
        present = new.services.get(name)
        if present is None:
            yield f"service {name} is gone"
            continue
        for rpc, signature in rpcs.items():
            if rpc not in present:
                yield f"{name}.{rpc} is gone"
            elif present[rpc] != signature:
                yield f"{name}.{rpc}: {signature} became {present[rpc]}"


def findings(old, new):
    """What of the contract `old` is broken by `new`, a sentence each."""
    return [*compare_messages(old, new), *compare_enums(old, new), *compare_services(old, new)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protoc", default="protoc")
    parser.add_argument("--root", type=pathlib.Path, default=HERE.parents[1] / "proto")
    parser.add_argument("--refresh", action="store_true")
    options = parser.parse_args()
    present = descriptors.compile_protos(options.protoc, options.root.resolve())
    if options.refresh:
        RELEASED.write_bytes(present)
        return 0
    broken = findings(descriptors.read(RELEASED.read_bytes()), descriptors.read(present))
    for finding in broken:
        print(f"breaks the last release: {finding}")
    print(f"{len(broken)} findings")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
