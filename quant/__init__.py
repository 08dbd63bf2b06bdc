"""Post-training quantization of timm vision transformers, and where to spend its bits."""
