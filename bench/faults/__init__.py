"""The faults: `python -m bench.faults` breaks the daemon in every way we know, at scale, and writes docs/reliability.md."""
