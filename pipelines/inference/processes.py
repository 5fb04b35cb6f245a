"""Processes by identity: a pid together with its start time, so that a reused pid is never mistaken or killed."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

START_TOLERANCE_S = 1.0


@dataclass(frozen=True)
class ProcessId:
    """One process of this machine."""

    pid: int
    started_at: float  # seconds since the epoch

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has this pid now; None when there is none or it is a zombie."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time())
        except psutil.NoSuchProcess:
            return None

    def is_alive(self) -> bool:
        """Whether this very process still runs; zombies do not."""
        now = ProcessId.of(self.pid)
        return now is not None and abs(now.started_at - self.started_at) < START_TOLERANCE_S


def group_members(group: int) -> list[ProcessId]:
    """The live processes of a process group."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and (found := ProcessId.of(process.pid)) is not None:
                members.append(found)
        except ProcessLookupError:
            continue
    return members


def end_group(group: int, members: Iterable[ProcessId], grace_s: float) -> None:
    """End the given processes of a group: SIGTERM, then SIGKILL for what is left after `grace_s`."""
    members = list(members)
    if any(member.is_alive() for member in members):
        _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(member.is_alive() for member in members):
        if time.monotonic() >= deadline:
            _signal_group(group, signal.SIGKILL)
            return
        time.sleep(0.05)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # the last one ended by itself
