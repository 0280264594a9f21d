"""Compares a GGUF file of ours with the folder it was made from, and with the file that llama.cpp makes of it.

Usage: check_gguf.py MODEL OURS.gguf [THEIRS.gguf]
Needs gguf and safetensors (run with gguf 0.19.0). MODEL is a folder; THEIRS is what `convert_hf_to_gguf.py MODEL --outtype TYPE`
writes, in the type of OURS. Every tensor must have the bytes that the package's own rounding gives, and every key that both files have
the same value; keys that one of them lacks are printed.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFReader, get_tensor_name_map, quants
from safetensors import safe_open

# The names and the time of making are no part of the model.
IGNORED = {"general.name", "general.basename", "general.size_label", "general.finetune", "general.version"}


def numbers(folder: Path) -> dict[str, np.ndarray]:
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():
                tensors[name] = opened.get_tensor(name).float().numpy()
    return tensors


def changed(name: str, tensor: np.ndarray, config: dict) -> np.ndarray:
    """As `convert_hf_to_gguf.py` changes it."""
    if config["model_type"].startswith("gemma") and name.endswith("norm.weight"):
        return tensor + np.float32(1)
    if config["model_type"] in ("llama", "smollm3") and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
        rows, columns = tensor.shape
        return tensor.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return tensor


def check_tensors(folder: Path, ours: GGUFReader) -> None:
    config = json.loads((folder / "config.json").read_text())
    arch = str(ours.fields["general.architecture"].contents())
    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == arch)
    assert isinstance(arch, MODEL_ARCH)
    names = get_tensor_name_map(arch, config["num_hidden_layers"])
    expected = {}
    for name, tensor in numbers(folder).items():
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        expected[names.get_name(name, (".weight", ".bias"))] = changed(name, tensor, config)
    got = {tensor.name: tensor for tensor in ours.tensors}
    got.pop("rope_freqs.weight", None)
    assert expected.keys() == got.keys(), expected.keys() ^ got.keys()
    kinds = {}
    for name, tensor in expected.items():
        kind = got[name].tensor_type
        kinds[kind.name] = kinds.get(kind.name, 0) + 1
        assert (kind == GGMLQuantizationType.F32) == (tensor.ndim == 1), (name, kind)
        data = quants.quantize(tensor, kind)
        assert data.tobytes() == got[name].data.tobytes(), name
    print(f"{len(expected)} tensors are the same to the bit: {kinds}")


def check_keys(ours: GGUFReader, theirs: GGUFReader) -> None:
    values = [
        {key: field.contents() for key, field in file.fields.items() if not key.startswith("GGUF.")}
        for file in (ours, theirs)
    ]
    one, other = values
    for key in sorted(one.keys() & other.keys() - IGNORED):
        assert one[key] == other[key], (key, str(one[key])[:200], str(other[key])[:200])
        types = [file.fields[key].types for file in (ours, theirs)]
        assert types[0] == types[1], (key, types)
    print(f"{len(one.keys() & other.keys() - IGNORED)} keys are the same")
    for who, keys in [("ours alone", one.keys() - other.keys()), ("theirs alone", other.keys() - one.keys())]:
        shown = {key: str((one | other)[key])[:60] for key in sorted(keys - IGNORED)}
        print(f"{who}: {shown}")
    bytes_of = [{tensor.name: tensor.data.tobytes() for tensor in file.tensors} for file in (ours, theirs)]
    assert bytes_of[0] == bytes_of[1], "tensors differ"
    print("all tensors are those of llama.cpp's converter")


def main() -> None:
    folder, ours = Path(sys.argv[1]), GGUFReader(sys.argv[2])
    check_tensors(folder, ours)
    if len(sys.argv) > 3:
        check_keys(ours, GGUFReader(sys.argv[3]))


if __name__ == "__main__":
    main()
