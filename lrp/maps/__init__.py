"""Room lrp.maps."""
