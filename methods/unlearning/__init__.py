"""Unlearning methods; a module's name is its method's name."""
