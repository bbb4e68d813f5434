"""Makes checkpoints and compares them, by Python's own safetensors where it can."""

import hashlib
import json
import pathlib
import random
import struct

import safetensors
import safetensors.numpy

ELEMENT_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
METADATA = {"format": "pt"}


class Tensor:
    """Name, dtype, shape and bytes of one tensor."""

    def __init__(self, name, dtype, shape, data):
        self.name, self.dtype, self.shape, self.data = name, dtype, list(shape), data


def random_tensor(rng, name, dtype, shape):
    count = 1
    for dimension in shape:
        count *= dimension
    size = count * ELEMENT_BYTES[dtype]
    data = bytes(b & 1 for b in rng.randbytes(size)) if dtype == "BOOL" else rng.randbytes(size)
    return Tensor(name, dtype, shape, data)


def transformer(layers=4, width=256, seed=0):
    """The tensors of a small transformer: layers x width x width x 14 bytes, and some of every kind besides."""
    rng = random.Random(seed)
    tensors = [random_tensor(rng, "model.embed_tokens.weight", "BF16", [4 * width, width])]
    for i in range(layers):
        prefix = f"model.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors.append(random_tensor(rng, f"{prefix}.self_attn.{part}.weight", "BF16", [width, width]))
        tensors.append(random_tensor(rng, f"{prefix}.self_attn.q_proj.bias", "F32", [width]))
        tensors.append(random_tensor(rng, f"{prefix}.mlp.up_proj.weight", "F16", [2 * width, width]))
        tensors.append(random_tensor(rng, f"{prefix}.mlp.gate_proj.weight", "F8_E4M3", [2 * width, width]))
        tensors.append(random_tensor(rng, f"{prefix}.input_layernorm.weight", "F32", [width]))
    tensors.append(random_tensor(rng, "model.norm.weight", "F32", [width]))
    tensors.append(random_tensor(rng, "model.rotary.inv_freq", "F64", []))
    tensors.append(random_tensor(rng, "model.mask", "BOOL", [3, 5]))
    tensors.append(random_tensor(rng, "model.empty", "I64", [0, 7]))
    tensors.append(random_tensor(rng, "lm_head.weight", "BF16", [4 * width, width]))
    return tensors


def write_safetensors(path, tensors, metadata=None):
    header, offset = {"__metadata__": METADATA if metadata is None else metadata}, 0
    for tensor in tensors:
        end = offset + len(tensor.data)
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(tensor.data)
    return pathlib.Path(path)


def write_hugging_face(directory, tensors, files=2):
    """A directory as transformers writes it, with companions in it and below it."""
    directory = pathlib.Path(directory)
    (directory / "tokenizer").mkdir(parents=True)
    weight_map, per_file = {}, -(-len(tensors) // files)
    for i in range(files):
        name = f"model-{i + 1:05}-of-{files:05}.safetensors"
        part = tensors[i * per_file : (i + 1) * per_file]
        write_safetensors(directory / name, part)
        weight_map.update({tensor.name: name for tensor in part})
    index = {"metadata": {"total_size": sum(len(tensor.data) for tensor in tensors)}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (directory / "config.json").write_text('{"model_type": "llama", "hidden_size": 256}\n')
    (directory / "generation_config.json").write_text("{}\n")
    (directory / "tokenizer" / "vocab.txt").write_text("a\nb\n")
    return directory


def companions(directory):
    """Relative path -> bytes of what is neither weights nor an index."""
    directory = pathlib.Path(directory)
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.endswith((".safetensors", ".safetensors.index.json"))
    }


def as_dict(tensors):
    return {tensor.name: (tensor.dtype, tuple(tensor.shape), hashlib.sha256(tensor.data).hexdigest()) for tensor in tensors}


def open_with_safetensors(path):
    """What Python's safetensors finds in a file: name -> (dtype, shape, digest). Raises what it raises."""
    found = {}
    for name, entry in safetensors.deserialize(pathlib.Path(path).read_bytes()):
        found[name] = (entry["dtype"], tuple(entry["shape"]), hashlib.sha256(bytes(entry["data"])).hexdigest())
    # The way that users take; it reads the header by another path than deserialize().
    with safetensors.safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(found)
        assert file.metadata() is None or isinstance(file.metadata(), dict)
        for name, (dtype, shape, digest) in found.items():
            if dtype in ("F64", "F32", "F16", "I64", "I32", "I8", "U8", "BOOL"):
                array = file.get_tensor(name)
                assert tuple(array.shape) == shape, name
                assert hashlib.sha256(array.tobytes()).hexdigest() == digest, name
    return found


def metadata_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return file.metadata()


def open_directory(directory):
    """All tensors of a directory in the Hugging Face layout; each is in the file that the index names."""
    directory = pathlib.Path(directory)
    found, holder = {}, {}
    for path in sorted(directory.glob("*.safetensors")):
        for name, value in open_with_safetensors(path).items():
            assert name not in found, f"{name} is in {holder[name]} and in {path.name}"
            found[name], holder[name] = value, path.name
    index = directory / "model.safetensors.index.json"
    if index.exists():
        assert json.loads(index.read_text())["weight_map"] == holder
    else:
        assert len(set(holder.values())) <= 1, "several files and no index"
    return found


def flip_byte(path, offset):
    """Changes one byte of a file in place."""
    path = pathlib.Path(path)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def md5_file(path):
    digest = hashlib.md5()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
