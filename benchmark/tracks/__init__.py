"""How a run of each kind goes, from its spec to its scores."""
