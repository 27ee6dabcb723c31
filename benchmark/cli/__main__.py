"""`python -m benchmark.cli` is `medsafe`."""

from benchmark.cli import main

main()
