"""Room app.look."""
