"""Metrics: pure functions on numpy arrays that declare what they are."""
