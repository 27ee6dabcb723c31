"""The methods under test: one method, one file."""
