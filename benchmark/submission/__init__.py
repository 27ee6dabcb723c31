"""Results that are handed in: packed into one folder, checked against their schema, computed again, and marked."""
