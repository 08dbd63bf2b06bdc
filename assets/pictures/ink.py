"""Ink on a canvas: enlarge, tilt and colour handwriting, and cut fragments of strokes from it."""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

ZOOM = 5  # an 8x8 source, with one empty pixel around it, becomes a 50x50 glyph
BORDER = 1
GLYPH = (8 + 2 * BORDER) * ZOOM
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
CONTRAST = 0.5  # least difference in luminance between ink and background
TRIES = 12  # places tried for one fragment before it is left out


@dataclass(frozen=True)
class Pose:
    """How a glyph lies on the canvas: centre and height in pixels, angle in degrees."""

    x: float
    y: float
    height: float
    angle: float
    stretch: float  # width relative to the source's
    slant: float


def enlarge(source: np.ndarray) -> Image.Image:
    """Return an 8x8 digit (values 0 to 16) as a smooth grey glyph of 50x50 pixels.

    Faint strokes stay, half transparent: without them a 6 falls apart and a 9 opens.
    """
    padded = np.pad(source / source.max(), BORDER).astype(np.float32)
    smooth = Image.fromarray(padded).resize((GLYPH, GLYPH), Image.Resampling.BICUBIC)
    edge = np.clip((np.asarray(smooth) - 0.19) / 0.5, 0, 1)
    return Image.fromarray((255 * edge).astype(np.uint8))


def random_pose(
    generator: np.random.Generator, least: float, greatest: float, tilt: float, size: int = 64
) -> Pose:
    """Draw a pose whose glyph lies wholly on a canvas of `size` pixels."""
    height = generator.uniform(least, greatest)
    margin = min(0.58 * height, size / 2)
    x, y = generator.uniform(margin, size - margin, 2)
    angle, slant = generator.uniform(-tilt, tilt), generator.uniform(-0.12, 0.12)
    return Pose(x, y, height, angle, generator.uniform(0.85, 1.15), slant)


def move_into(pose: Pose, box: tuple[float, float, float, float], free: float) -> Pose:
    """Centre a pose in a box (x, y, width, height), at a share `free` of the way along it."""
    x, y, width, height = box
    margin = 0.58 * pose.height
    along_x, along_y = max(width - 2 * margin, 0.0), max(height - 2 * margin, 0.0)
    return replace(
        pose,
        x=x + (width - along_x) / 2 + free * along_x,
        y=y + (height - along_y) / 2 + free * along_y,
    )


def stamp(glyph: Image.Image, pose: Pose, size: int) -> np.ndarray:
    """Return the ink of a glyph on a canvas: alpha 0 to 1, (size, size) float32."""
    scale = 8 * ZOOM / pose.height  # glyph pixels per canvas pixel
    cos, sin = math.cos(math.radians(pose.angle)), math.sin(math.radians(pose.angle))
    # Canvas to glyph: undo the place, the turn, the slant, the stretch (PIL maps backwards).
    a, b = scale * (cos + pose.slant * sin) / pose.stretch, scale * (sin - pose.slant * cos)
    b /= pose.stretch
    d, e = -scale * sin, scale * cos
    middle = GLYPH / 2
    c, f = middle - a * pose.x - b * pose.y, middle - d * pose.x - e * pose.y
    matrix = (a, b, c, d, e, f)
    grey = glyph.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(grey, np.float32) / 255


def fragment(generator: np.random.Generator, glyph: Image.Image, size: int) -> np.ndarray:
    """Cut a round piece of stroke, `size` pixels across, from a glyph; alpha (size, size)."""
    inked = np.argwhere(np.asarray(glyph) > 128)
    row, column = inked[int(generator.integers(len(inked)))] - GLYPH / 2
    height = generator.uniform(18, 28)
    scale = height / (8 * ZOOM)
    # Moves the chosen point of the stroke to the middle of the patch; the turn is any angle.
    angle = generator.uniform(-180, 180)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x = size / 2 - scale * (cos * column - sin * row)
    y = size / 2 - scale * (sin * column + cos * row)
    patch = stamp(glyph, Pose(x, y, height, angle, 1.0, 0.0), size)
    return patch * disc(size)


def disc(size: int) -> np.ndarray:
    """Return a round window with a soft edge; (size, size) float32."""
    axis = np.arange(size, dtype=np.float32) + 0.5 - size / 2
    radius = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    return np.clip(size / 2 - radius, 0, 1)


def place(
    generator: np.random.Generator, canvas: np.ndarray, patch: np.ndarray, taken: np.ndarray
) -> None:
    """Paint a patch at a random free place of the canvas, or nowhere if none is found soon."""
    size = patch.shape[0]
    for row, column in generator.integers(0, canvas.shape[0] - size, (TRIES, 2)):
        window = slice(row, row + size), slice(column, column + size)
        if not taken[window].any():
            np.maximum(canvas[window], patch, out=canvas[window])
            return


def colour(generator: np.random.Generator, luminance: float, vivid: float) -> np.ndarray:
    """Return an RGB colour (3,) of exactly this luminance, `vivid` of the way to the purest."""
    chroma = generator.normal(size=3)
    chroma -= chroma @ LUMA
    room = np.where(chroma > 0, 1 - luminance, luminance) / np.abs(chroma)
    return luminance + vivid * room.min() * chroma


def compose(
    generator: np.random.Generator, digits: list[np.ndarray], clutter: np.ndarray
) -> Image.Image:
    """Paint digits and clutter (alphas) on a smooth coloured background; return the RGB picture.

    Ink is lighter than a dark background and darker than a light one, by CONTRAST or more.
    """
    size = clutter.shape[0]
    dark = bool(generator.integers(2))
    ground = generator.uniform(0.12, 0.38)
    inks = [generator.uniform(ground + CONTRAST, 0.97) for _ in (*digits, clutter)]
    picture = _background(generator, ground if dark else 1 - ground, size)
    for alpha, luminance in zip((clutter, *digits), inks, strict=True):
        paint = colour(generator, luminance if dark else 1 - luminance, generator.uniform(0.3, 0.9))
        picture += alpha[:, :, None] * (paint.astype(np.float32) - picture)
    grain = generator.standard_normal(picture.shape, np.float32)
    picture += np.float32(generator.uniform(0.01, 0.03)) * grain
    return Image.fromarray((255 * np.clip(picture, 0, 1)).astype(np.uint8))


def _background(generator: np.random.Generator, luminance: float, size: int) -> np.ndarray:
    """Return a smooth wash of colours near a luminance; (size, size, 3) float32."""
    corners = [colour(generator, luminance, generator.uniform(0.1, 0.5)) for _ in range(4)]
    grid = np.stack(corners).reshape(2, 2, 3)
    grid = np.pad(grid, ((0, 1), (0, 1), (0, 0)), mode="reflect")
    grid += generator.normal(0, 0.03, (3, 3, 1))
    wash = Image.fromarray((255 * np.clip(grid, 0, 1)).astype(np.uint8))
    return np.asarray(wash.resize((size, size), Image.Resampling.BICUBIC)) / np.float32(255)
