"""Room lrp.propagation."""
