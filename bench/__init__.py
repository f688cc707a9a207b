"""The benchmarks: `python -m bench` measures the daemon as it is deployed, and writes docs/performance.md."""
