#!/usr/bin/env python3
"""The plain Python flow of loading shards: torch.load in four threads, then each file read again for its MD5.

  torch_load.py write SAFETENSORS TORCH_FILE     the same tensors as a file of torch.save
  torch_load.py load FILE=MD5...                 loads them all; prints JSON

It needs Debian's python3-torch and nothing else.
"""

import concurrent.futures
import hashlib
import json
import resource
import struct
import sys
import time

import torch

THREADS = 4
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            data = bytearray(file.read(end - begin))
            dtype = DTYPES[entry["dtype"]]
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            yield name, flat.reshape(entry["shape"]).clone()


def write(source, target):
    torch.save(dict(read_safetensors(source)), target)


def load_one(argument):
    path, expected = argument.rsplit("=", 1)
    tensors = torch.load(path, map_location="cpu")
    with open(path, "rb") as file:
        digest = hashlib.md5(file.read()).hexdigest()
    if digest != expected:
        raise RuntimeError(f"{path}: has MD5 {digest} instead of {expected}")
    return tensors


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def load(arguments):
    cpu, begin = cpu_seconds(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        shards = list(pool.map(load_one, arguments))
    seconds, used = time.monotonic() - begin, cpu_seconds() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": used, "tensors": sum(len(one) for one in shards)}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        load(sys.argv[2:])
