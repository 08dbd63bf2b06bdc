"""Room app.parts."""
