"""Whether the files of a model folder fit together, found without loading the weights.

What transformers would load is laid out on the meta device, where tensors have shapes and no memory: names, shapes and
shards are compared by its own rules (tied weights, renamed and fused ones included). Folders that only the engine can
load (own code, quantised weights, classes that transformers has no language model for) are judged by their files alone.
"""

import contextlib
import io
import json
import struct
from pathlib import Path

from pipelines.errors import ModelFolderError
from pipelines.inference.tokens import check_model_folder

JSON_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "model.safetensors.index.json",
)  # fmt: skip
NUM_NAMED = 3  # tensors that a reason names


def why_unloadable(folder: Path) -> str | None:
    """Why a model folder cannot be loaded, with the file at fault; None where nothing speaks against it."""
    try:
        check_model_folder(folder)
    except ModelFolderError as error:
        return str(error)
    return _odd_json(folder) or broken_weights(folder) or _missing_shard(folder) or _does_not_fit(folder)


def broken_weights(folder: Path) -> str | None:
    """The first weights file that cannot be loaded, and why; None where headers and sizes agree."""
    for file in sorted(folder.glob("*.safetensors")):
        if (broken := _why_broken(file)) is not None:
            return f"{file} cannot be loaded: {broken}."
    return None


def _odd_json(folder: Path) -> str | None:
    for name in JSON_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"{file} cannot be read: {error}."
        if not isinstance(data, dict):
            return f"{file} holds {type(data).__name__}, a JSON object is expected."
    return None


def _why_broken(file: Path) -> str | None:
    """What is wrong with a safetensors file, by its header; None where header and size agree."""
    try:
        size = file.stat().st_size
        with open(file, "rb") as opened:
            head = opened.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
            if not 0 < length <= size - 8:
                return f"it has {size:,} bytes and no header"
            header = json.loads(opened.read(length))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return f"its header cannot be read ({error})"
    expected = 8 + length + max(ends, default=0)
    return None if expected == size else f"it has {size:,} bytes and its header promises {expected:,}"


def _missing_shard(folder: Path) -> str | None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return None
    shards = json.loads(index.read_text(encoding="utf-8")).get("weight_map")
    if not isinstance(shards, dict):
        return f"{index} has no weight_map."
    missing = sorted({str(name) for name in shards.values() if not (folder / str(name)).is_file()})
    return f"{folder} lacks {', '.join(missing[:NUM_NAMED])}, which {index.name} names." if missing else None


def _does_not_fit(folder: Path) -> str | None:
    """Whether transformers finds every weight of the configuration, in its shape, and numbers in them."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "auto_map" in config or "quantization_config" in config:
        return None  # own code is not run, and formats of quantised weights need packages of their own

    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    part = "The tokenizer"
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            AutoTokenizer.from_pretrained(folder, local_files_only=True)
            part = "The model"
            if type(AutoConfig.from_pretrained(folder, local_files_only=True)) not in MODEL_FOR_CAUSAL_LM_MAPPING:
                return None
            _, found = AutoModelForCausalLM.from_pretrained(
                folder, device_map="meta", local_files_only=True, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # noqa: BLE001  # whatever a model class makes of a foreign file
        words = str(error).strip() or type(error).__name__
        return f"{part} in {folder} cannot be loaded: {words.splitlines()[0]}"
    if mismatched := sorted(found["mismatched_keys"]):
        name, there, wanted = mismatched[0]
        return (
            f"The weights of {folder} do not fit its config.json: {name} has shape {tuple(there)}, {tuple(wanted)} is "
            f"expected ({len(mismatched)} such)."
        )
    if missing := sorted(found["missing_keys"]):
        return f"The weights of {folder} lack {', '.join(missing[:NUM_NAMED])} ({len(missing)} missing)."
    return _not_numbers(folder)


def _not_numbers(folder: Path) -> str | None:
    """The first vector of weights with NaN or infinity: a training that diverged has them in its norms too."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  # not a dict
                if len(opened.get_slice(name).get_shape()) != 1:
                    continue
                values = opened.get_tensor(name)
                if values.is_floating_point() and not values.isfinite().all():
                    return f"{file} holds NaN or infinity in {name}: the training that wrote it diverged."
    return None
