"""Room app.explain."""
