"""Summaries that merge: digests, moments, distinct members, for many series at once."""
