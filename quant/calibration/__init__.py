"""Room quant.calibration."""
