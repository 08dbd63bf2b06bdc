"""Room assets.sets."""
