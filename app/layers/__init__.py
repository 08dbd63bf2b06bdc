"""Room app.layers."""
