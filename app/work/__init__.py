"""Room app.work."""
