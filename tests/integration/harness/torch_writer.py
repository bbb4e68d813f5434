"""Writes PyTorch files with the real torch, and says what torch finds in them.

Run by Debian's Python, which has torch: torch_writer.py DIRECTORY. Makes the files below DIRECTORY, and expected.json there:
file -> name -> [dtype, shape, SHA-256 of the contiguous bytes] as torch.load gives them.
"""

import hashlib
import json
import os
import pathlib
import sys

import numpy
import torch

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
    torch.complex64: "C64",
}  # fmt: skip


def tensor(dtype, *shape):
    count = int(numpy.prod(shape, dtype=numpy.int64))
    if dtype == torch.bool:
        return (torch.arange(count) % 3 == 0).reshape(shape)
    values = torch.randn(count) * 50
    if dtype.is_complex:
        values = torch.complex(values, torch.randn(count))
    return values.to(dtype).reshape(shape)


def raw_bytes(value):
    value = value.detach().contiguous()
    if value.dtype == torch.bfloat16:
        value = value.view(torch.int16)
    return value.numpy().tobytes()


def described(state_dict):
    return {
        name: [DTYPES[value.dtype], list(value.shape), hashlib.sha256(raw_bytes(value)).hexdigest()]
        for name, value in state_dict.items()
        if isinstance(value, torch.Tensor)
    }


class Net(torch.nn.Module):
    """Two layers, a buffer, and a head that is tied to the embeddings."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(64, 32)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(32, 32) for _ in range(2)])
        self.norm = torch.nn.BatchNorm1d(32)
        self.head = torch.nn.Linear(32, 64, bias=False)
        self.head.weight = self.embed.weight


def strides():
    base = tensor(torch.float32, 6, 8)
    fused = tensor(torch.bfloat16, 96, 64)
    big = tensor(torch.float32, 900, 1100)
    return {
        "whole": base, "transposed": base.t(), "sliced": base[1:4, 2:7], "every_other": base[:, ::2], "column": base[:, 3],
        "expanded": tensor(torch.int32, 1, 5).expand(4, 5), "permuted": tensor(torch.float16, 2, 3, 4, 5).permute(3, 0, 2, 1),
        "windows": tensor(torch.uint8, 20).unfold(0, 5, 3), "scalar": base[2, 2], "none": base[:0], "diagonal": base.diagonal(),
        "q": fused[:32], "k": fused[32:64], "v": fused[64:], "fused": fused,
        "big_transposed": big.t(), "big_columns": big[:, 7:900:3], "big_column": big[:, 5],
    }  # fmt: skip


def write_sharded(directory):
    """As transformers wrote models before it wrote safetensors."""
    directory.mkdir()
    embed = tensor(torch.bfloat16, 64, 32)
    parts = [
        {"model.embed_tokens.weight": embed, "lm_head.weight": embed, "model.layers.0.w": tensor(torch.bfloat16, 32, 32)},
        {"model.layers.1.w": tensor(torch.bfloat16, 32, 32).t(), "model.norm.weight": tensor(torch.float32, 32)},
    ]
    weight_map, everything = {}, {}
    for i, part in enumerate(parts):
        name = f"pytorch_model-{i + 1:05}-of-{len(parts):05}.bin"
        torch.save(part, directory / name)
        weight_map.update(dict.fromkeys(part, name))
        everything.update(described(torch.load(directory / name)))
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (directory / "config.json").write_text('{"tie_word_embeddings": true}')
    torch.save({"lr": 1.0}, directory / "training_args.bin")
    return everything


class Command:
    def __reduce__(self):
        return os.system, ("touch owned",)


class Evaluation:
    def __reduce__(self):
        return eval, ("__import__('os').system('touch owned')",)


class Chain:
    def __reduce__(self):
        return getattr, (Net, "__module__")


def write_refused(directory):
    weight = tensor(torch.float32, 4)
    for name, value in {
        "os_system": {"a": weight, "b": Command()}, "eval": {"a": Evaluation()}, "getattr": {"a": Chain()},
        "whole_module": Net(), "numpy": {"a": weight, "loss": numpy.float64(1.0)}, "list": [weight],
        "two_models": {"model": {"a": weight}, "module": {"a": weight}}, "unknown_key": {"net": {"a": weight}, "epoch": 3},
        "quantised": {"a": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)}, "sparse": {"a": weight.to_sparse()},
        "complex128": {"a": weight.to(torch.complex128)},
    }.items():  # fmt: skip
        torch.save(value, directory / f"{name}.pt")
    torch.save({"a": weight}, directory / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(directory / "script.pt"))


def main(directory):
    torch.manual_seed(1)
    files = {
        "dtypes.pt": {f"d.{name}": tensor(dtype, 5, 3) for dtype, name in DTYPES.items()},
        "strides.pth": strides(),
        "module.bin": Net().state_dict(),
        "parameters.pt": dict(Net().named_parameters()),
    }
    expected = {}
    for name, value in files.items():
        torch.save(value, directory / name)
        expected[name] = described(torch.load(directory / name))
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    net.head(net.embed(torch.tensor([1, 2]))).sum().backward()
    optimizer.step()
    nested = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.5}
    torch.save(nested, directory / "nested.pt")
    expected["nested.pt"] = described(net.state_dict())
    expected["sharded"] = write_sharded(directory / "sharded")
    write_refused(directory)
    (directory / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
