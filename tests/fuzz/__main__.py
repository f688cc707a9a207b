"""
Looks for input that breaks a target, led by what each input reaches: `make fuzz`, or for one target alone

    python -m tests.fuzz bodies --seconds 600

Needs atheris, which `make fuzz` installs into an environment of its own. What was found good to go on from is kept in
`.fuzz/`, beside what broke a target: give that to `python -m tests.fuzz bodies --try .fuzz/bodies/crash-…`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(".fuzz")
HANG_SECONDS, MEMORY_MB, LONGEST = 5, 1_024, 4_096


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Ends the process: 0 where nothing was found."""
    import atheris

    with atheris.instrument_imports(include=["proxy", "bot", "daemon"]):
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS

    corpus = folder / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={LONGEST}"]
    where = [f"-artifact_prefix={folder / name}/", str(corpus)]
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-print_final_stats=1", *limits, *where], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    from tests.fuzz.seeds import SEEDS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", choices=[[], *SEEDS], help="targets; without any, all of them")
    parser.add_argument("--seconds", type=int, default=120, help="for each target")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--try", type=Path, dest="input", help="give this file to the target, and nothing else")
    given = parser.parse_args()
    names = given.names or [*SEEDS]
    if given.input:
        from tests.fuzz.targets import TARGETS

        TARGETS[names[0]](given.input.read_bytes())
        return 0
    if len(names) == 1:
        fuzz(names[0], given.seconds, given.folder)
    options = ["--seconds", str(given.seconds), "--folder", str(given.folder)]
    codes = {name: subprocess.call([sys.executable, "-m", "tests.fuzz", name, *options]) for name in names}
    broken = [name for name, code in codes.items() if code]
    sys.stdout.write(f"fuzz: {len(names)} targets, {', '.join(broken) or 'none'} broken\n")
    return int(bool(broken))


sys.exit(main())
