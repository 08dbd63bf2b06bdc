"""Cut images into cells, which are covered or deleted in turn."""

from torch import nn

SIDE = 16  # at most so many cells a side: patches of 4 pixels are too many to delete in turn
PICTURES = 32  # in one forward pass, so that memory does not grow with the cells deleted
PATCH = (16, 16)  # of a model that does not say


def grid(model: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Return how many cells images are cut into: patches, joined until a side has at most 16."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", PATCH)
    counts = [max(1, size // p) for size, p in zip((height, width), patch, strict=True)]
    rows, columns = (-(-n // -(-n // SIDE)) for n in counts)
    return rows, columns
