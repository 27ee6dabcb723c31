"""What outlives a run: content-addressed artifacts in a cache, and immutable records in a results folder."""
