"""Room quant.analysis."""
