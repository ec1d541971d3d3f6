"""Series, frames, rings: what is kept of the past."""
