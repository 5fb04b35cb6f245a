"""Text to token ids and back, and what a model folder says about itself.

A model folder is checked before anything is started: `check_model_folder` names what is missing. `model_digest`
names a model by its content, so that a retrained model in the same folder is another model.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import tokenizers

from pipelines.errors import ModelFolderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WEIGHT_PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
DIGESTED_FILES = ("config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
LARGE_MODEL_BYTES = 256 << 20  # above this a digest is also remembered between processes


class TextCodec(Protocol):
    """What sessions offer as `tokenizer`."""

    eos_ids: frozenset[int]
    vocab_size: int

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def apply_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]: ...


class Tokenizer:
    """The tokenizer of a model folder, without a model library: encode and decode cost microseconds."""

    def __init__(self, fast: tokenizers.Tokenizer, folder: Path, eos_ids: frozenset[int]) -> None:
        self._fast = fast
        self._folder = folder
        self.eos_ids = eos_ids  # every token that ends a sequence; empty when the model declares none
        self.vocab_size = fast.get_vocab_size(with_added_tokens=True)

    @classmethod
    def load(cls, folder_or_id: str | Path) -> "Tokenizer":
        """Read a folder, or fetch a hub id first. Raises ModelFolderError when there is no readable tokenizer."""
        folder = resolve_model_folder(folder_or_id)
        check_model_folder(folder)
        return cls(_fast_tokenizer(folder), folder, _eos_ids(folder))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`. Nothing is added; the text of a special token ("<solve>") becomes that token."""
        return self._fast.encode(text, add_special_tokens=False).ids

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, as `encode` gives them; many at once, on all cores."""
        return [len(one.ids) for one in self._fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens such as EOS are left out."""
        return self._fast.decode(list(ids), skip_special_tokens=True)

    def apply_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation in the model's own chat template, ready for the assistant's turn."""
        return self.encode(self.chat_text(messages))

    def chat_text(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation as text in the model's own chat template, ready for the assistant's turn.

        Raises ModelFolderError when the model has no chat template.
        """
        template = self._chat_tokenizer
        return template.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=True)

    @cached_property
    def _chat_tokenizer(self) -> "PreTrainedTokenizerBase":
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self._folder)
        if tokenizer.chat_template is None:
            raise ModelFolderError(
                f'The model folder {self._folder} has no chat template; use prompt_style = "plain" or "starter", '
                "or add chat_template.jinja to the folder."
            )
        return tokenizer


def resolve_model_folder(folder_or_id: str | Path) -> Path:
    """A local folder as it is; a hub id ("owner/name") becomes the folder of its downloaded snapshot.

    Raises ModelFolderError when there is no such folder and no such model can be fetched.
    """
    folder = Path(folder_or_id).expanduser()
    if folder.is_dir():
        return folder.resolve()
    name = str(folder_or_id)
    is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")
    if not is_hub_id:
        raise ModelFolderError(
            f"The model folder {folder} is not there. Give a folder in Hugging Face format (config.json, "
            'model.safetensors, tokenizer.json), a hub id such as "owner/name", or "starter".'
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFolderError(
            f"The model {name!r} is no folder here and cannot be fetched from the hub ({reason}). Check the name and "
            "the network, or give the folder of a downloaded model."
        ) from error


def check_model_folder(folder: Path) -> None:
    """Raise ModelFolderError, naming what is missing, unless `folder` holds configuration, weights and tokenizer."""
    if not folder.is_dir():
        raise ModelFolderError(f"The model folder {folder} is not there; give a folder in Hugging Face format.")
    missing = []
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    if not _weight_files(folder):
        missing.append("weights (*.safetensors)")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append("a tokenizer (tokenizer.json)")
    if missing:
        raise ModelFolderError(
            f"The model folder {folder} lacks {' and '.join(missing)}; it holds {_listing(folder)}. Give a folder as "
            "`save_pretrained` writes it: config.json, model.safetensors, tokenizer.json."
        )
    _read_json(folder / "config.json")


def max_model_len(folder: Path) -> int | None:
    """Longest context in tokens that the configuration declares; None when it says nothing."""
    config = _read_json(folder / "config.json")
    for section in (config, config.get("text_config")):
        if isinstance(section, dict) and isinstance(section.get("max_position_embeddings"), int):
            return section["max_position_embeddings"]
    return None


def vocabulary_size(folder: Path) -> int | None:
    """Tokens that the model gives probabilities to, padding of its embedding included; None when it says nothing."""
    config = _read_json(folder / "config.json")
    for section in (config, config.get("text_config")):
        if isinstance(section, dict) and isinstance(section.get("vocab_size"), int):
            return section["vocab_size"]
    return None


def model_digest(folder: Path) -> str:
    """SHA-256 (64 hex digits) over configuration, tokenizer and weights of a model folder.

    Remembered by path, size and modification time: within the process always, between processes for large models.
    Raises ModelFolderError when the folder is not a model.
    """
    check_model_folder(folder)
    files = [folder / name for name in DIGESTED_FILES if (folder / name).is_file()] + _weight_files(folder)
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    stamp = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    if stamp not in _digests:
        is_large = sum(size for _, size, _ in stamps) > LARGE_MODEL_BYTES
        _digests[stamp] = _remembered_digest(stamp, files) if is_large else _digest_files(files)
    return _digests[stamp]


def url_model_digest(url: str, model_name: str, folder: Path) -> str:
    """Digest of a model that somebody else serves: where, under which name, and what the local folder of that model
    holds, so that new weights behind the same address are another model as soon as the folder has them.
    """
    return hashlib.sha256(f"{url}\n{model_name}\n{model_digest(folder)}".encode()).hexdigest()


_digests: dict[str, str] = {}  # stamp of the files -> digest


def _digest_files(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def _remembered_digest(stamp: str, files: Sequence[Path]) -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "reasonmill" / "model_digests"
    entry = cache / stamp
    if entry.is_file() and len(text := entry.read_text()) == 64:
        return text
    digest = _digest_files(files)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        entry.write_text(digest)
    except OSError:
        return digest  # a read-only home costs time, not correctness
    return digest


def _weight_files(folder: Path) -> list[Path]:
    for pattern in WEIGHT_PATTERNS:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def _fast_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        if not isinstance(_read_json(path).get("model"), dict):
            raise ModelFolderError(f"The tokenizer {path} has no object `model`; it is not in the tokenizers format.")
        try:
            return tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelFolderError(f"The tokenizer {path} cannot be read ({error}).") from error
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder).backend_tokenizer
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise ModelFolderError(
            f"The tokenizer in {folder} cannot be read ({error}). Save it in the fast format: tokenizer.json."
        ) from error


def _eos_ids(folder: Path) -> frozenset[int]:
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            eos = _read_json(folder / name).get("eos_token_id")
            found = frozenset(token for token in (eos if isinstance(eos, list) else [eos]) if isinstance(token, int))
            if found:
                return found
    return frozenset()


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"The file {path} of the model cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"The file {path} of the model is not a JSON object.")
    return content


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:8]) + (" ..." if len(names) > 8 else "")) or "nothing"
