"""Records -> tables. Needs no torch and nothing of the runner."""
