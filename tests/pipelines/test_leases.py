import json
import os
import subprocess

import pytest

from pipelines.errors import PartitionBusyError
from pipelines.lake import Lake


def test_a_second_holder_of_a_lease_is_told_who_holds_it(tmp_path):
    lake = Lake(tmp_path)
    with lake.lease("rollouts/n1"):
        message = f"rollouts/n1 is being written by process {os.getpid()} on"
        with pytest.raises(PartitionBusyError, match=message), Lake(tmp_path).lease("rollouts/n1"):
            pass
        with lake.lease("rollouts/n2"):
            pass
    with lake.lease("rollouts/n1"):
        pass
    assert list((tmp_path / ".leases").iterdir()) == []


def test_a_lease_file_without_a_living_holder_is_taken_over(tmp_path):
    lake = Lake(tmp_path)
    (tmp_path / ".leases").mkdir()
    (tmp_path / ".leases" / "rollouts_n1.json").write_text('{"pid": 1, "host": "elsewhere", "since": "2026-11-01"}')
    with lake.lease("rollouts/n1"):
        pass


def test_leases_on_an_object_store_exclude_and_those_of_dead_processes_are_taken_over():
    lake = Lake("memory://leases")
    path = f"{lake.root}/.leases/rollouts.json"
    with lake.lease("rollouts"):
        holder = json.loads(lake.filesystem.cat_file(path))
        with pytest.raises(PartitionBusyError, match=f"process {os.getpid()}"), lake.lease("rollouts"):
            pass
    assert not lake.filesystem.exists(path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    lake.filesystem.pipe_file(path, json.dumps(holder | {"pid": dead.pid, "process_start": "1"}).encode())
    with lake.lease("rollouts"):
        assert json.loads(lake.filesystem.cat_file(path))["pid"] == os.getpid()
    lake.filesystem.pipe_file(path, json.dumps(holder | {"host": "elsewhere"}).encode())
    with pytest.raises(PartitionBusyError, match="on elsewhere"), lake.lease("rollouts"):
        pass
    lake.filesystem.pipe_file(path, json.dumps(holder | {"host": "elsewhere", "since_s": 0}).encode())
    with lake.lease("rollouts"):
        pass
