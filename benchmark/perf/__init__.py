"""How fast the suite is, beside what one would have written instead: `python -m benchmark.perf`."""
