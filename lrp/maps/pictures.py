"""Draw relevance over images. Pure: arrays and pictures in, pictures out."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

# ColorBrewer's RdBu ends: told apart by every kind of colour vision. Light where weak, dark where
# strong, so that the strength is seen without colour too.
AGAINST = np.array([[146, 197, 222], [67, 147, 195], [5, 48, 97]], float)
FOR = np.array([[244, 165, 130], [214, 96, 77], [138, 6, 32]], float)
WHITE = np.array([247.0, 247.0, 247.0])
FADE = 0.65  # gamma of the overlay's alpha: below 1, weak relevance stays visible
BASE_WIDTH = 448


def from_model_input(
    values: np.ndarray, mean: Sequence[float], deviation: Sequence[float]
) -> Image.Image:
    """Turn a normalised model input (3, H, W) back into the picture the model sees."""
    pixels = values.transpose(1, 2, 0) * np.asarray(deviation) + np.asarray(mean)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def enlarge(picture: Image.Image, width: int = BASE_WIDTH) -> Image.Image:
    """Resize to `width`, small pictures smoothly."""
    height = round(picture.height * width / picture.width)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def scale(values: np.ndarray, quantile: float = 1.0) -> np.ndarray:
    """Scale a map to -1..1 by its largest magnitude, or by a quantile of the magnitudes."""
    peak = float(np.quantile(np.abs(values), quantile)) or float(np.abs(values).max())
    return np.clip(values / peak, -1, 1) if peak > 0 else np.zeros_like(values)


def veil(values: np.ndarray, size: tuple[int, int], smooth: bool = True) -> Image.Image:
    """Draw a map (h, w) in -1..1 as RGBA of `size` (width, height), to be laid over a grey picture.

    Red speaks for the class, blue against it; the weaker, the clearer.
    """
    spread = _resize(values, size, smooth)
    alpha = 255 * np.abs(spread)[..., None] ** FADE
    return Image.fromarray(np.concatenate([_ink(spread), alpha], -1).round().astype(np.uint8))


def overlay(
    picture: Image.Image, values: np.ndarray, opacity: float = 0.8, smooth: bool = True
) -> Image.Image:
    """Lay a map (h, w) in -1..1 over a picture.

    The picture turns grey, so that all colour is relevance, and shows through where it is weak.
    """
    layer = np.asarray(veil(values, picture.size, smooth), float)
    alpha = opacity * layer[..., 3:] / 255
    grey = np.asarray(picture.convert("L"), float)[..., None]
    return Image.fromarray((grey * (1 - alpha) + layer[..., :3] * alpha).round().astype(np.uint8))


def heat(values: np.ndarray, width: int, smooth: bool = False) -> Image.Image:
    """Draw a map (h, w) in -1..1 by itself: white is zero."""
    size = (width, max(1, round(values.shape[0] * width / values.shape[1])))
    return _colour(_resize(values, size, smooth))


def legend(width: int = 240, height: int = 12, lowest: float = -1.0) -> Image.Image:
    """Draw the colour scale from `lowest` to 1."""
    return _colour(np.tile(np.linspace(lowest, 1, width), (height, 1)))


def _resize(values: np.ndarray, size: tuple[int, int], smooth: bool) -> np.ndarray:
    # Hamming's kernel is nowhere negative: smoothing makes no blue ring around what is red.
    way = Image.Resampling.HAMMING if smooth else Image.Resampling.NEAREST
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.clip(np.asarray(image.resize(size, way)), -1, 1)


def _ink(values: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of the overlay: from light at 0 to dark at -1 and 1."""
    strength, places = np.abs(values), np.linspace(0, 1, len(FOR))
    ramps = [
        np.stack([np.interp(strength, places, ramp[:, c]) for c in range(3)], -1)
        for ramp in (FOR, AGAINST)
    ]
    return np.where(values[..., None] >= 0, *ramps)


def _colour(values: np.ndarray) -> Image.Image:
    """Paint values opaquely: white at 0."""
    weight = np.minimum(1, np.abs(values) * 3)[..., None]
    return Image.fromarray((WHITE * (1 - weight) + _ink(values) * weight).astype(np.uint8))
