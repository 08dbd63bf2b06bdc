"""Room assets.models."""
