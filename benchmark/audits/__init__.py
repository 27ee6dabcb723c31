"""Strong membership audits: models trained on random halves, and what they tell of an unlearned one (PROTOCOL 6)."""
