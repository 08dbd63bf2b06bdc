"""Room quant.model."""
