"""Room quant.allocation."""
