"""
`posthouse`, and `python -m daemon`, which is the same.

Rule 1: without the packages this prints one line that says what to run; so nothing here imports any of them at the top.
"""

from __future__ import annotations

import sys

OURS = ("daemon", "proxy", "bot")
HOW = "Run:  make demo    or:  python3 -m pip install --require-hashes -r requirements.txt"


def main() -> None:
    try:
        from daemon.cli import posthouse

        posthouse()
    except ModuleNotFoundError as missing:
        package = (missing.name or "").split(".")[0]
        if package in OURS:  # a fault of ours, not of the installation
            raise
        sys.exit(f"Posthouse's packages are not installed for {sys.executable} ({package} is missing). {HOW}")


if __name__ == "__main__":
    main()
