"""Layer-wise relevance propagation on unmodified timm vision transformers."""
