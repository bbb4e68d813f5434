#!/usr/bin/env python3
"""Compares a checkpoint with the one that was assembled from its shards, byte for byte.

Usage: compare_checkpoints.py SOURCE ASSEMBLED

SOURCE is a file or a directory; ASSEMBLED is the directory that `muster export --out` wrote. Tensors of
safetensors files are compared by name, dtype, shape and bytes, however they are spread over files; any other
file is compared whole, with the file of the same path. Needs Python's standard library only.

Exit codes: 0 identical, 1 different (each difference is a line on stderr), 2 unreadable.
"""

import json
import os
import struct
import sys

CHUNK_BYTES = 4 << 20
INDEX_SUFFIX = ".safetensors.index.json"


class Unreadable(Exception):
    pass


class Tensor:
    """One tensor's place in a file."""

    def __init__(self, path, dtype, shape, begin, end):
        self.path, self.dtype, self.shape, self.begin, self.end = path, dtype, shape, begin, end


def files_below(path):
    """Maps the relative path of each file to its path."""
    if os.path.isfile(path):
        return {os.path.basename(path): path}
    if not os.path.isdir(path):
        raise Unreadable(f"{path}: no such file or directory")
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            found[os.path.relpath(full, path)] = full
    return found


def read_header(path):
    """Returns (tensors by name, metadata) of a safetensors file."""
    with open(path, "rb") as file:
        prefix = file.read(8)
        if len(prefix) != 8:
            raise Unreadable(f"{path}: too short for a safetensors file")
        (length,) = struct.unpack("<Q", prefix)
        if length > 100_000_000:
            raise Unreadable(f"{path}: a header of {length} bytes")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise Unreadable(f"{path}: {error}") from error
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = Tensor(path, entry["dtype"], entry["shape"], 8 + length + begin, 8 + length + end)
    return tensors, metadata


def read_tensors(files):
    tensors, metadata = {}, {}
    for relative, path in files.items():
        if relative.endswith(".safetensors"):
            found, kept = read_header(path)
            twice = tensors.keys() & found.keys()
            if twice:
                raise Unreadable(f"{path}: tensor {min(twice)!r} is in {tensors[min(twice)].path} too")
            tensors.update(found)
            metadata.update(kept)
    return tensors, metadata


def same_range(a_path, a_begin, b_path, b_begin, length):
    with open(a_path, "rb") as a, open(b_path, "rb") as b:
        a.seek(a_begin)
        b.seek(b_begin)
        while length > 0:
            count = min(CHUNK_BYTES, length)
            left, right = a.read(count), b.read(count)
            if left != right or len(left) != count:
                return False
            length -= count
    return True


def same_file(a, b):
    size = os.path.getsize(a)
    return size == os.path.getsize(b) and same_range(a, 0, b, 0, size)


def compare(source, assembled):
    """Yields one line per difference."""
    ours, theirs = files_below(source), files_below(assembled)
    tensors, metadata = read_tensors(ours)
    found, kept = read_tensors(theirs)
    for name in sorted(tensors.keys() | found.keys()):
        if name not in found:
            yield f"tensor {name}: missing"
            continue
        if name not in tensors:
            yield f"tensor {name}: not in the source"
            continue
        a, b = tensors[name], found[name]
        if (a.dtype, a.shape, a.end - a.begin) != (b.dtype, b.shape, b.end - b.begin):
            yield f"tensor {name}: {a.dtype} {a.shape} became {b.dtype} {b.shape}"
        elif not same_range(a.path, a.begin, b.path, b.begin, a.end - a.begin):
            yield f"tensor {name}: other bytes"
    if tensors and metadata != kept:
        yield f"__metadata__ {metadata} became {kept}"
    for relative, path in sorted(ours.items()):
        if relative.endswith((".safetensors", INDEX_SUFFIX)):
            continue
        if relative not in theirs:
            yield f"{relative}: missing"
        elif not same_file(path, theirs[relative]):
            yield f"{relative}: other bytes"


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        differences = 0
        for line in compare(*arguments):
            print(line, file=sys.stderr)
            differences += 1
    except (Unreadable, OSError, KeyError, TypeError, ValueError) as error:
        print(f"compare_checkpoints: {error}", file=sys.stderr)
        return 2
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
