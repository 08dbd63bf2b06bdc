"""Room quant.history."""
