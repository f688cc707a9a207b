"""What the figures were measured on, and what a process costs there: cores, CPU time, memory. Linux (/proc)."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

OPEN_FILES = 65_536
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the measured program has to itself, and which one all the others share. None: the system's choice."""

    measured: int | None
    others: int | None


def cores() -> Cores:
    mine = sorted(os.sched_getaffinity(0))
    return Cores(mine[0], mine[1]) if len(mine) > 1 and shutil.which("taskset") else Cores(None, None)


def stay_on(core: int | None) -> None:
    """For this process."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def raise_open_files() -> None:
    """For this process and all it starts: a thousand subscribers are more than the 1,024 files of most shells."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def cpu_seconds(pid: int) -> float:
    """User and system time so far of all threads, and of the processes it started, in steps of the kernel's tick (10 ms)."""
    children = [int(child) for of_thread in Path(f"/proc/{pid}/task").glob("*/children") for child in _words(of_thread)]
    return _ticked(Path(f"/proc/{pid}/stat")) + sum(map(cpu_seconds, children))


def cpu_seconds_of_main(pid: int) -> float:
    """The same of the first thread alone."""
    return _ticked(Path(f"/proc/{pid}/task/{pid}/stat"))


def _ticked(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _words(of_thread: Path) -> list[str]:
    try:
        return of_thread.read_text().split()
    except FileNotFoundError:  # the thread has ended
        return []


@dataclass(frozen=True, slots=True)
class Memory:
    """
    In MB. `resident` (RSS) counts pages that other processes use too, `proportional` (PSS) its share of them, `private` (USS)
    none; `most` is the highest RSS so far.
    """

    resident: float
    proportional: float
    private: float
    most: float


def memory(pid: int) -> Memory:
    now = _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
    ever = _kilobytes(Path(f"/proc/{pid}/status").read_text())
    private = now["Private_Clean"] + now["Private_Dirty"]
    return Memory(now["Rss"] / 1000, now["Pss"] / 1000, private / 1000, ever["VmHWM"] / 1000)


def _kilobytes(text: str) -> dict[str, float]:
    """By name, in kilobytes of 1,000 bytes."""
    return {name: int(size) * 1.024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def description() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = _kilobytes(Path("/proc/meminfo").read_text())["MemTotal"] / 1e6
    is_optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return (
        f"{len(os.sched_getaffinity(0))} cores ({model[1].strip() if model else platform.machine()}), {total:.0f} GB, "
        f"{platform.system()} {platform.release().split('-')[0]}, {platform.python_implementation()} "
        f"{platform.python_version()} (built {'with' if is_optimised else 'without'} profile-guided optimisation), "
        f"at a load average of {os.getloadavg()[0]:.1f} before it began"
    )
