"""Room quant.evaluation."""
