"""
Other people's programs from the package index, each with its locked packages in an environment of its own.

Rule 1: `python -m bench.peers` makes the environments, beside the one that runs this, once and again when a lock changes; a
        measurement never installs.
Rule 2: what cannot be had (no network, no build) is no fault of the benchmark's: `Absent` says why, and a row says it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT

from bench.program import LOG_CHARACTERS
from bench.wire import TOKEN

LOCKS = Path(__file__).parent / "peers"
ENVIRONMENTS = Path(sys.prefix) / "bench"
INSTALL_SECONDS = 900.0

_LITELLM = """
model_list:
  - model_name: gpt-5-mini
    litellm_params:
      model: openai/gpt-5-mini
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-bench-1
litellm_settings:
  telemetry: false
general_settings:
  master_key: {token}
"""


class Absent(Exception):
    """What is not there, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


@dataclass(frozen=True, slots=True)
class Peer:
    arguments: list[str]
    environ: Mapping[str, str]


def bin_of(name: str) -> Path:
    """The folder of the environment's programs. Raises Absent."""
    place = ENVIRONMENTS / name
    if _stamp(place, "installed") == _digest(name):
        return place / "bin"
    raise Absent(name, f"not installed: {_stamp(place, 'why') or '`python -m bench.peers` does it'}")


def install(name: str) -> None:
    """Unless it is. What hinders it is written where `bin_of` finds it."""
    place = ENVIRONMENTS / name
    if _stamp(place, "installed") == _digest(name):
        return
    print(f"installing: {name} (once) …", file=sys.stderr)
    venv.create(place, clear=True, with_pip=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes"]
    pip: list[str | Path] = [
        place / "bin" / "python",
        "-m",
        "pip",
        "install",
        *options,
        "--requirement",
        LOCKS / name / "requirements.txt",
    ]
    try:
        done = subprocess.run(pip, timeout=INSTALL_SECONDS, stdout=PIPE, stderr=STDOUT, text=True)
    except subprocess.TimeoutExpired:
        (place / "why").write_text(f"it took longer than {INSTALL_SECONDS:.0f} s")
        return
    if done.returncode:
        print(done.stdout[-LOG_CHARACTERS:], file=sys.stderr)  # with names of hosts, which the page must not have
        (place / "why").write_text("its packages could not be had or built")
        return
    (place / "installed").write_text(_digest(name))


def _digest(name: str) -> str:
    return hashlib.sha256((LOCKS / name / "requirements.txt").read_bytes()).hexdigest()


def _stamp(place: Path, name: str) -> str:
    stamp = place / name
    return stamp.read_text() if stamp.exists() else ""


def openai_forward(port: int, upstream: int) -> Peer:
    """It passes the caller's own key on; its time-out is raised, its logs of bodies stay off."""
    programs = bin_of("openai-forward")
    forward = [{"base_url": f"http://127.0.0.1:{upstream}", "route": "/", "type": "openai"}]
    told = {"FORWARD_CONFIG": json.dumps(forward), "TIMEOUT": "60", "TZ": "UTC"}
    return Peer([str(programs / "openai-forward"), "run", "--port", str(port), "--workers", "1"], _environ(told))


def litellm(port: int, upstream: int, folder: Path) -> Peer:
    """It knows its callers' token, fetches no list of prices, and logs errors alone."""
    programs = bin_of("litellm")
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.format(upstream=upstream, token=TOKEN))
    told = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    told["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"  # it is on loopback
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return Peer([str(programs / "litellm"), *options], _environ(told))


def wechatpy(port: int, token: str, folder: Path) -> Peer:
    programs = bin_of("wechatpy")
    told = {"WECHAT_TOKEN": token, "WECHAT_DATABASE": str(folder / f"wechatpy-{port}.db")}
    options = ["--bind", f"127.0.0.1:{port}", "--workers", "1", "--worker-class", "gthread", "--threads", "8"]
    return Peer([str(programs / "gunicorn"), *options, "--chdir", str(LOCKS / "wechatpy"), "app:app"], _environ(told))


def _environ(told: Mapping[str, str]) -> Mapping[str, str]:
    """Without what would lead it to our own environment."""
    ours = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    }
    return {**ours, **told}


if __name__ == "__main__":
    for lock in sorted(LOCKS.glob("*/requirements.txt")):
        install(lock.parent.name)
