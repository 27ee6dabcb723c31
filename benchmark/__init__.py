"""MedSafe-Bench: what is run, on which data, and how it is recorded."""
