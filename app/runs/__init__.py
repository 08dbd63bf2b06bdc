"""Room app.runs."""
