"""Expositions for readers, and what we push to."""
