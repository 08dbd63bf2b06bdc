"""Room app.state."""
