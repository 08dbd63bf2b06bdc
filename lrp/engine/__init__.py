"""Room lrp.engine."""
