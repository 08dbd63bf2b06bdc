"""Room assets.pictures."""
