"""Model directories as well-known families have them: their names and structure, with small tensors.

Every builder fills a directory and returns what publishing it must take: relative folder -> tensors. What lies beside it is there
to be told apart.
"""

import hashlib
import json
import os
import pathlib
import random

from harness.checkpoints import random_tensor, write_safetensors

WIDTH = 64
LARGE_FILE_SUFFIXES = (".safetensors", ".bin", ".pth", ".gguf", ".model", ".onnx")


def _write(directory, files):
    for name, content in files.items():
        path = pathlib.Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_indexed(directory, stem, tensors, files=2, index=None):
    """Files stem-0000i-of-0000N.safetensors with their index, as save_pretrained writes them."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    weight_map, per_file = {}, -(-len(tensors) // files)
    for i in range(files):
        name = f"{stem}-{i + 1:05}-of-{files:05}.safetensors"
        part = tensors[i * per_file : (i + 1) * per_file]
        write_safetensors(directory / name, part)
        weight_map.update({tensor.name: name for tensor in part})
    total = sum(len(tensor.data) for tensor in tensors)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)
    (directory / (index or f"{stem}.safetensors.index.json")).write_text(text)


def _attention(rng, prefix, dtype="BF16"):
    return [
        random_tensor(rng, f"{prefix}.self_attn.{part}_proj.weight", dtype, [WIDTH, WIDTH]) for part in ("q", "k", "v", "o")
    ]


def llama(directory, seed=1):
    """Meta's Llama on the hub: sharded safetensors, and the weights as Meta keeps them in original/."""
    rng = random.Random(seed)
    tensors = [random_tensor(rng, "model.embed_tokens.weight", "BF16", [4 * WIDTH, WIDTH])]
    for i in range(3):
        prefix = f"model.layers.{i}"
        tensors += _attention(rng, prefix)
        for part in ("gate", "up", "down"):
            tensors.append(random_tensor(rng, f"{prefix}.mlp.{part}_proj.weight", "BF16", [2 * WIDTH, WIDTH]))
        for part in ("input_layernorm", "post_attention_layernorm"):
            tensors.append(random_tensor(rng, f"{prefix}.{part}.weight", "BF16", [WIDTH]))
    tensors.append(random_tensor(rng, "model.norm.weight", "BF16", [WIDTH]))
    # lm_head is tied to the embeddings: the source leaves it out, and so must we.
    write_indexed(directory, "model", tensors, files=3)
    _write(directory, {
        "config.json": '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": true}',
        "generation_config.json": "{}", "special_tokens_map.json": "{}", "tokenizer.json": "{}", "tokenizer_config.json": "{}",
        "chat_template.jinja": "{{ messages }}", "LICENSE.txt": "license", "README.md": "# Llama", ".gitattributes": "*.bin lfs",
        "original/consolidated.00.pth": b"PK\x03\x04" + rng.randbytes(1000), "original/params.json": "{}",
        "original/tokenizer.model": rng.randbytes(100), ".cache/huggingface/download/config.json.metadata": "x", ".git/HEAD": "x",
    })  # fmt: skip
    return {"": tensors}


def qwen_moe_fp8(directory, seed=2):
    """Qwen3 MoE in block-wise fp8: every weight of an expert has its scales beside it."""
    rng = random.Random(seed)
    tensors = [random_tensor(rng, "model.embed_tokens.weight", "BF16", [4 * WIDTH, WIDTH])]
    for i in range(2):
        prefix = f"model.layers.{i}"
        tensors += _attention(rng, prefix, "F8_E4M3")
        tensors += [random_tensor(rng, f"{prefix}.self_attn.{part}_norm.weight", "BF16", [16]) for part in ("q", "k")]
        tensors.append(random_tensor(rng, f"{prefix}.mlp.gate.weight", "BF16", [4, WIDTH]))
        for expert in range(4):
            for part in ("gate", "up", "down"):
                name = f"{prefix}.mlp.experts.{expert}.{part}_proj"
                tensors.append(random_tensor(rng, f"{name}.weight", "F8_E4M3", [WIDTH, WIDTH]))
                tensors.append(random_tensor(rng, f"{name}.weight_scale_inv", "F32", [1, 1]))
    tensors.append(random_tensor(rng, "lm_head.weight", "BF16", [4 * WIDTH, WIDTH]))
    write_indexed(directory, "model", tensors, files=2)
    _write(directory, {
        "config.json": json.dumps({"model_type": "qwen3_moe", "auto_map": {"AutoModel": "modeling_qwen3_moe.Model"}}),
        "modeling_qwen3_moe.py": "import os\n", "vocab.json": "{}", "merges.txt": "a b\n", "qwen.tiktoken": "YQ== 0\n",
        "tokenizer_config.json": "{}", "preprocessor_config.json": "{}",
    })  # fmt: skip
    return {"": tensors}


def mixtral(directory, seed=3):
    """Mixtral: experts as w1, w2, w3; Mistral's own consolidated files and PyTorch's beside the safetensors."""
    rng = random.Random(seed)
    tensors = [random_tensor(rng, "model.embed_tokens.weight", "BF16", [4 * WIDTH, WIDTH])]
    for i in range(2):
        prefix = f"model.layers.{i}"
        tensors += _attention(rng, prefix)
        tensors.append(random_tensor(rng, f"{prefix}.block_sparse_moe.gate.weight", "BF16", [4, WIDTH]))
        for expert in range(4):
            for part in ("w1", "w2", "w3"):
                name = f"{prefix}.block_sparse_moe.experts.{expert}.{part}.weight"
                tensors.append(random_tensor(rng, name, "BF16", [WIDTH, WIDTH]))
    tensors.append(random_tensor(rng, "lm_head.weight", "BF16", [4 * WIDTH, WIDTH]))
    write_indexed(directory, "model", tensors, files=4)
    write_safetensors(pathlib.Path(directory) / "consolidated.safetensors", [
        random_tensor(rng, "layers.0.attention.wq.weight", "BF16", [WIDTH, WIDTH])])  # fmt: skip
    _write(directory, {
        "config.json": '{"model_type": "mixtral"}', "params.json": "{}", "tokenizer.model": rng.randbytes(200),
        "tokenizer.model.v3": rng.randbytes(200), "pytorch_model-00001-of-00001.bin": b"PK\x03\x04" + rng.randbytes(500),
        "pytorch_model.bin.index.json": "{}",
    })  # fmt: skip
    return {"": tensors}


def diffusers(directory, seed=4):
    """A Stable Diffusion XL pipeline: networks in folders, whose tensors share names; a single-file checkpoint and variants."""
    rng = random.Random(seed)
    directory = pathlib.Path(directory)

    def network(layers):
        tensors = [random_tensor(rng, "conv_in.weight", "F16", [WIDTH, 4, 3, 3])]
        tensors.append(random_tensor(rng, "conv_in.bias", "F16", [WIDTH]))
        for i in range(layers):
            tensors.append(random_tensor(rng, f"down_blocks.{i}.resnets.0.conv1.weight", "F16", [WIDTH, WIDTH]))
        return tensors

    unet, vae = network(5), network(2)
    encoder = [random_tensor(rng, f"text_model.encoder.layers.{i}.mlp.fc1.weight", "F16", [WIDTH, WIDTH]) for i in range(3)]
    encoder_2 = [random_tensor(rng, tensor.name, "F16", tensor.shape) for tensor in encoder]
    write_indexed(directory / "unet", "diffusion_pytorch_model", unet)
    for folder, name, tensors in (
        ("vae", "diffusion_pytorch_model", vae), ("text_encoder", "model", encoder), ("text_encoder_2", "model", encoder_2),
        ("vae", "diffusion_pytorch_model.fp16", vae), ("vae_1_0", "diffusion_pytorch_model", vae), (".", "sd_xl_base_1.0", unet),
    ):  # fmt: skip
        (directory / folder).mkdir(exist_ok=True)
        write_safetensors(directory / folder / f"{name}.safetensors", tensors)
    components = {
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }  # fmt: skip
    pipeline = {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.30.0", **components}
    _write(directory, {
        "model_index.json": json.dumps(pipeline),
        "unet/config.json": "{}", "vae/config.json": "{}", "text_encoder/config.json": "{}", "text_encoder_2/config.json": "{}",
        "tokenizer/vocab.json": "{}", "tokenizer/merges.txt": "a b", "scheduler/scheduler_config.json": "{}",
        "unet/model.onnx": b"onnx",
    })  # fmt: skip
    return {"unet": unet, "vae": vae, "text_encoder": encoder, "text_encoder_2": encoder_2}


def sentence_transformer(directory, seed=5):
    """A sentence-transformers model: the encoder at the top, a dense module with weights and a pooling module without."""
    rng = random.Random(seed)
    directory = pathlib.Path(directory)
    encoder = [random_tensor(rng, "embeddings.word_embeddings.weight", "F32", [4 * WIDTH, WIDTH])]
    encoder += [random_tensor(rng, f"encoder.layer.{i}.output.dense.weight", "F32", [WIDTH, WIDTH]) for i in range(3)]
    dense = [random_tensor(rng, "linear.weight", "F32", [WIDTH, WIDTH]), random_tensor(rng, "linear.bias", "F32", [WIDTH])]
    (directory / "2_Dense").mkdir(parents=True)
    write_safetensors(directory / "model.safetensors", encoder)
    write_safetensors(directory / "2_Dense" / "model.safetensors", dense)
    modules = [{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models.X"}
               for i, path in enumerate(["", "1_Pooling", "2_Dense"])]  # fmt: skip
    _write(directory, {
        "modules.json": json.dumps(modules), "config_sentence_transformers.json": "{}", "sentence_bert_config.json": "{}",
        "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}', "2_Dense/config.json": "{}", "config.json": "{}",
        "vocab.txt": "a\n", "tokenizer.json": "{}", "pytorch_model.bin": b"PK\x03\x04", "onnx/model.onnx": b"onnx",
    })  # fmt: skip
    return {"": encoder, "2_Dense": dense}


def vllm_sharded_state(directory, ranks=2, seed=6):
    """What vLLM's save_sharded_state writes for tensor parallelism. Returns rank -> tensors; names repeat between ranks."""
    rng = random.Random(seed)
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    by_rank = {}
    for rank in range(ranks):
        tensors = [random_tensor(rng, f"model.layers.{i}.mlp.gate_up_proj.weight", "BF16", [WIDTH, WIDTH]) for i in range(4)]
        tensors.append(random_tensor(rng, "model.norm.weight", "BF16", [WIDTH]))
        for part in range(2):
            write_safetensors(directory / f"model-rank-{rank}-part-{part}.safetensors", tensors[part::2])
        by_rank[rank] = tensors
    _write(directory, {"config.json": "{}", "tokenizer.json": "{}"})
    return by_rank


def gguf(directory, seed=7):
    """A repository of one quantization. Returns its path."""
    path = pathlib.Path(directory) / "tiny.Q4_K_M.gguf"
    _write(directory, {path.name: b"GGUF\x03\0\0\0" + random.Random(seed).randbytes(300_000), "README.md": "# tiny"})
    return path


FAMILIES = {f.__name__: f for f in (llama, qwen_moe_fp8, mixtral, diffusers, sentence_transformer)}


def as_snapshot(directory, cache, repository="org/name", revision="0123abcd"):
    """Turns a directory into a snapshot of a Hugging Face cache: links to blobs, as huggingface_hub makes them."""
    directory, root = pathlib.Path(directory), pathlib.Path(cache) / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / revision
    (root / "blobs").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(revision)
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if not path.is_file() or relative.parts[0] in (".cache", ".git"):
            continue
        data = path.read_bytes()
        if path.name.endswith(LARGE_FILE_SUFFIXES):
            name = hashlib.sha256(data).hexdigest()
        else:
            name = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        (root / "blobs" / name).write_bytes(data)
        link = snapshot / relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(root / "blobs" / name, link.parent))
    return snapshot
