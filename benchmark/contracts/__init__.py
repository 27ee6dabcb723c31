"""What plugins and the suite agree on; `benchmark.api` is the one module that a plugin imports it from."""
