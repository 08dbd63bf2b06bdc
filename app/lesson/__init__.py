"""Room app.lesson."""
