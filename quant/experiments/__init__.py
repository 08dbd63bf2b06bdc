"""Room quant.experiments."""
