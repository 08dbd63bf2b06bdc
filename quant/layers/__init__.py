"""Room quant.layers."""
