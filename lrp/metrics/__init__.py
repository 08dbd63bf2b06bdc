"""Room lrp.metrics."""
