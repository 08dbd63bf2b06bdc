"""Room lrp.methods."""
