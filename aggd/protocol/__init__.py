"""The wire protocol in plain Python: bytes in, samples and refusals out."""
