"""Room quant.primitives."""
