"""Questions and points over HTTP."""
