"""Room app.budget."""
