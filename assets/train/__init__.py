"""Room assets.train."""
