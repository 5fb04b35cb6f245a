import re
from pathlib import Path

import pytest

from pipelines.config import EngineConfig
from pipelines.inference.engine_flags import engine_environment, engine_identity, server_command, visible_devices
from pipelines.inference.errors import EngineStartError


def flags(kind: str = "generate", **engine: object) -> list[str]:
    return server_command("python", EngineConfig(**engine), Path("/models/m"), "m-1", 8000, kind, 512)


def value_of(flag: str, command: list[str]) -> str:
    return command[command.index(flag) + 1]


def test_on_the_cpu_the_engine_is_eager_in_float32_and_never_splits_a_prompt():
    command = flags(device="cpu")

    assert value_of("--dtype", command) == "float32"
    assert value_of("--max-model-len", command) == "512"
    assert int(value_of("--max-num-batched-tokens", command)) >= 512
    assert {"--enforce-eager", "--no-enable-chunked-prefill", "--enable-prefix-caching"} <= set(command)
    assert value_of("--generation-config", command) == "vllm"
    assert value_of("--max-logprobs", command) == "4096"
    assert "--tensor-parallel-size" not in command
    assert "--disable-log-stats" not in command  # the driver reads /metrics


def test_on_gpus_the_engine_takes_its_share_and_its_parallelism():
    command = flags(device="cuda", tensor_parallel_size=2, gpu_memory_share=0.4, dtype="bfloat16")

    assert value_of("--tensor-parallel-size", command) == "2"
    assert value_of("--gpu-memory-utilization", command) == "0.4"
    assert value_of("--dtype", command) == "bfloat16"
    assert "--enforce-eager" not in command


def test_a_critic_is_served_by_the_pooling_runner_and_extra_arguments_come_last():
    command = flags("pooling", device="cpu", extra_args=("--seed", "3"))

    assert value_of("--runner", command) == "pooling"
    assert command[-2:] == ["--seed", "3"]


def test_the_environment_stays_offline_and_rounds_the_cache_up():
    environment = engine_environment(
        EngineConfig(device="cpu", kv_cache_gib=1.5), {"HOME": "/h", "OMP_NUM_THREADS": "1"}
    )

    assert environment["HOME"] == "/h"
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert (environment["HF_HUB_OFFLINE"], environment["VLLM_NO_USAGE_STATS"]) == ("1", "1")
    assert "OMP_NUM_THREADS" not in environment


def test_every_worker_has_gpus_of_its_own():
    pair = EngineConfig(device="cuda", num_workers=3, tensor_parallel_size=2)

    assert [visible_devices(pair, index, {}) for index in range(3)] == ["0,1", "2,3", "4,5"]
    assert visible_devices(pair, 1, {"CUDA_VISIBLE_DEVICES": "7,6,5,4,3,2"}) == "5,4"
    assert visible_devices(EngineConfig(device="cuda"), 0, {}) is None
    assert visible_devices(EngineConfig(device="cpu", num_workers=3), 2, {}) is None
    with pytest.raises(EngineStartError, match="num_workers = 3 with 2 GPUs each needs 6; .* = 0,1,2,3 lists 4"):
        visible_devices(pair, 2, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})


def test_the_engine_s_identity_tells_builds_of_one_version_apart_and_not_machines(tmp_path, monkeypatch):
    def identity(folder: str, kernel: str, script: str) -> str:
        info = tmp_path / folder / "vllm-9.9.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n")
        lines = [f"vllm/_C.so,sha256={kernel},3", f"../../bin/vllm,sha256={script},4", "vllm/a.pyc,,"]
        (info / "RECORD").write_text("\n".join(lines) + "\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / folder)
            engine_identity.cache_clear()
            found = engine_identity()
        engine_identity.cache_clear()
        return found

    one, elsewhere, built = identity("a", "k1", "s1"), identity("b", "k1", "s2"), identity("c", "k2", "s1")

    assert one == elsewhere
    assert one != built
    assert re.fullmatch(r"vllm 9\.9 \([0-9a-f]{16}\)", one)
