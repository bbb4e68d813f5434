"""Safetensors files that no reader may accept, and what an error about each has to mention."""

import json
import struct


def _file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _tensor(begin, end, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def files():
    """Name -> bytes."""
    one = _tensor(0, 16)
    return {
        "empty": b"",
        "seven-bytes": b"\x01\x02\x03\x04\x05\x06\x07",
        "truncated-header": _file({"a": one}, bytes(16))[:20],
        "truncated-data": _file({"a": one}, bytes(15)),
        "trailing-data": _file({"a": one}, bytes(17)),
        "huge-header-length": _file({"a": one}, bytes(16), length=2**63 - 1),
        "negative-header-length": _file({"a": one}, bytes(16), length=2**64 - 1),
        "header-over-the-cap": _file({"a": one}, bytes(16), length=100_000_001),
        "zero-header-length": _file(b"", bytes(16)),
        "no-json": _file(b"this is no json ", bytes(16)),
        "json-array": _file(b"[1, 2, 3]", bytes(16)),
        "nested-without-end": _file(b'{"a":' + b"[" * 200_000, bytes(16)),
        "overlap": _file({"a": _tensor(0, 16), "b": _tensor(8, 24)}, bytes(24)),
        "hole": _file({"a": _tensor(0, 16), "b": _tensor(20, 36)}, bytes(36)),
        "not-from-zero": _file({"a": _tensor(4, 20)}, bytes(20)),
        "past-the-end": _file({"a": _tensor(0, 1 << 40)}, bytes(16)),
        "begin-after-end": _file({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}, bytes(16)),
        "negative-offset": _file({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}, bytes(16)),
        "offset-overflow": _file(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551632]}}', bytes(16)),
        "fractional-offset": _file(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16.5]}}', bytes(16)),
        "three-offsets": _file({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]}}, bytes(16)),
        "duplicate-name": _file(
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}',
            bytes(32),
        ),
        "negative-shape": _file({"a": _tensor(0, 16, shape=[-4])}, bytes(16)),
        "overflowing-shape": _file({"a": _tensor(0, 16, shape=[2**62, 2**62, 4])}, bytes(16)),
        "shape-of-another-size": _file({"a": _tensor(0, 16, shape=[5])}, bytes(16)),
        "shape-no-list": _file(b'{"a":{"dtype":"F32","shape":4,"data_offsets":[0,16]}}', bytes(16)),
        "dtype-missing": _file({"a": {"shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        "dtype-no-string": _file({"a": {"dtype": 7, "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        "metadata-no-strings": _file({"__metadata__": {"format": 1}, "a": one}, bytes(16)),
        "name-not-utf8": _file(b'{"\xff\xfe":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(16)),
    }
