"""Exclusive leases: one writer per name, also between processes and machines.

On a local folder a lease is an advisory lock (`flock`) on a small file: the kernel drops it with the
process that held it, so a lease of a dead process is free at once and nothing has to be judged stale.
On an object store it is an object created only if absent; one that a dead process of this machine or
any other machine left behind (older than `FOREIGN_LEASE_S`, if not said otherwise) is taken over.
"""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import LakeError, PartitionBusyError

FOREIGN_LEASE_S = 24 * 3600  # a lease of another machine on an object store is believed for this long


@contextmanager
def hold_lease(
    filesystem: AbstractFileSystem, path: str, name: str, foreign_lease_s: float = FOREIGN_LEASE_S
) -> Iterator[None]:
    """Holds the lease `name`, kept at `path`, for the length of the block.

    `foreign_lease_s`: how long a lease of another machine on an object store is believed.

    Raises PartitionBusyError, naming the holder's pid, host and time, when somebody else holds it,
    and LakeError when the lease cannot be written.
    """
    is_local = isinstance(filesystem, LocalFileSystem)
    release = _lock_file(path, name) if is_local else _put_object(filesystem, path, name, foreign_lease_s)
    try:
        yield
    finally:
        release()


def _lock_file(path: str, name: str) -> Callable[[], None]:
    descriptor = _locked_descriptor(path, name)
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, json.dumps(_holder()).encode(), 0)
    except OSError:
        os.ftruncate(descriptor, 0)  # a full disk: the lock holds, only its description is lost

    def release() -> None:
        Path(path).unlink(missing_ok=True)
        os.close(descriptor)

    return release


def _locked_descriptor(path: str, name: str) -> int:
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LakeError(f"The lease {name} cannot be taken: {path} cannot be opened ({error.strerror}).") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _parsed(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise _busy(name, holder) from error
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # the last holder deleted this file between our open and our lock


def _is_still(path: str, descriptor: int) -> bool:
    try:
        return os.stat(path).st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _put_object(
    filesystem: AbstractFileSystem, path: str, name: str, foreign_lease_s: float = FOREIGN_LEASE_S
) -> Callable[[], None]:
    mine = _holder()
    filesystem.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        filesystem.pipe_file(path, json.dumps(mine).encode(), mode="create")
    except FileExistsError as error:
        holder = _parsed(filesystem.cat_file(path))
        if not _is_stale(holder, foreign_lease_s):
            raise _busy(name, holder) from error
        filesystem.pipe_file(path, json.dumps(mine).encode())
        if _parsed(filesystem.cat_file(path)) != mine:  # another process took it over in the same moment
            raise _busy(name, _parsed(filesystem.cat_file(path))) from error

    def release() -> None:
        if filesystem.exists(path) and _parsed(filesystem.cat_file(path)) == mine:
            filesystem.rm_file(path)

    return release


def _holder() -> dict[str, str | int | float | None]:
    return {
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "since_s": time.time(),
        "token": secrets.token_hex(8),
    }


def _parsed(data: bytes) -> dict:
    try:
        return json.loads(data)
    except ValueError:  # the holder has the lock but has not yet written who it is
        return {}


def _is_stale(holder: dict, foreign_lease_s: float) -> bool:
    if not holder:
        return False
    if holder["host"] != socket.gethostname():
        return time.time() - holder["since_s"] > foreign_lease_s
    return _process_start(holder["pid"]) != holder["process_start"]


def _process_start(pid: int) -> str | None:
    """Start time of a process in clock ticks, which tells a reused pid from the old one; None = no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _busy(name: str, holder: dict) -> PartitionBusyError:
    who = f"process {holder['pid']} on {holder['host']} since {holder['since']}" if holder else "another process"
    return PartitionBusyError(
        f"{name} is being written by {who}. Nothing was changed;"
        " wait until that run has ended, or end it, and try again."
    )
