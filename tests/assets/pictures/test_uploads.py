"""Pictures of every kind and condition: opened as RGB, or refused in one sentence."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from assets.errors import InputError
from assets.pictures import uploads
from assets.pictures.uploads import check_resized, open_image

RAMP = np.linspace(0, 255, 40 * 30).reshape(30, 40).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_common_kinds_open_as_rgb(kind: str) -> None:
    picture = Image.new("RGB", (40, 30), (200, 40, 40))
    opened = open_image(encoded(picture, kind))
    assert (opened.mode, opened.size) == ("RGB", (40, 30))
    assert np.abs(np.asarray(opened, int) - np.asarray(picture, int)).max() <= 6


def test_path_text_bytes_and_stream_give_the_same(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(RAMP).convert("RGB"), "PNG")
    file = tmp_path / "ramp.png"
    file.write_bytes(data)
    pictures = [open_image(s).tobytes() for s in (file, str(file), data, io.BytesIO(data))]
    assert len(set(pictures)) == 1


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    file = tmp_path / "really_a_png.jpg"
    file.write_bytes(encoded(Image.new("RGB", (4, 4)), "PNG"))
    assert open_image(file).size == (4, 4)


def test_exif_orientation_is_applied() -> None:
    picture = Image.new("RGB", (40, 30), "white")
    picture.paste("black", (0, 0, 10, 10))  # top left
    facts = Image.Exif()
    facts[0x0112] = 6  # the camera was turned: show it turned by 90 degrees clockwise
    opened = open_image(encoded(picture, "JPEG", exif=facts, quality=95))
    assert opened.size == (30, 40)
    assert opened.getpixel((26, 3))[0] < 40  # the black corner is now top right
    assert opened.getpixel((3, 3))[0] > 215


def test_transparency_lies_on_white() -> None:
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))
    opened = open_image(encoded(picture, "PNG"))
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert all(abs(value - 127) <= 1 for value in opened.getpixel((1, 0)))


def test_transparent_palette_and_grey_lie_on_white() -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    opened = open_image(encoded(palette, "PNG", transparency=0))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 100, 50)]
    grey = open_image(encoded(Image.new("LA", (1, 1), (7, 0)), "PNG"))
    assert grey.getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_opens_in_its_colours() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = open_image(encoded(cyan, "JPEG", quality=95)).getpixel((4, 4))
    assert red < 30 and green > 200 and blue > 200


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    opened = np.asarray(open_image(encoded(deep, "PNG")))
    assert np.abs(opened[:, :, 1].astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_other_modes_open_as_rgb(mode: str) -> None:
    assert open_image(encoded(Image.fromarray(RAMP).convert(mode), "PNG")).mode == "RGB"


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert open_image(data).getpixel((8, 8)) == (255, 0, 0)


def test_text_named_png_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("dear diary", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.png is no PNG, JPEG or WebP picture"):
        open_image(file)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_kinds_of_picture_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match="is no PNG, JPEG or WebP picture"):
        open_image(encoded(Image.new("RGB", (4, 4)), kind))


def test_nothing_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no PNG"):
        open_image(b"")
    with pytest.raises(InputError, match="there is no picture at"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(InputError, match="a device or a pipe"):
        open_image("/dev/zero")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for share in (0.01, 0.1, 0.5, 0.9):
        with pytest.raises(InputError):
            open_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_flipped_bytes_give_a_picture_or_an_input_error(kind: str) -> None:
    generator = np.random.default_rng(1)
    noise = generator.integers(0, 256, (32, 32, 3), np.uint8)
    original = np.frombuffer(encoded(Image.fromarray(noise), kind), np.uint8)
    outcomes = set()
    for _ in range(150):
        damaged = original.copy()
        damaged[generator.integers(0, len(damaged), 3)] ^= 0x5A
        try:
            outcomes.add(open_image(damaged.tobytes()).mode)
        except InputError:
            outcomes.add("refused")
    assert outcomes <= {"RGB", "refused"} and "refused" in outcomes


def exif(byte_order: str, *entries: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """EXIF of one directory: each entry is tag, type, count, and value or place in the tail."""
    sign = {"<": b"II", ">": b"MM"}[byte_order]
    packed = b"".join(struct.pack(f"{byte_order}HHLL", *entry) for entry in entries)
    head = sign + struct.pack(f"{byte_order}HLH", 42, 8, len(entries))
    return b"Exif\0\0" + head + packed + bytes(4) + tail


ORIENTATION, RATIONAL = (0x0112, 3, 1, 6), (0x011A, 5, 1, 38)
BROKEN_EXIF = {
    "zero by zero": exif("<", ORIENTATION, RATIONAL, tail=bytes(8)),
    "one by zero": exif("<", ORIENTATION, RATIONAL, tail=struct.pack("<LL", 1, 0)),
    "rational beyond the end": exif("<", ORIENTATION, (0x011A, 5, 1, 9999)),
    "of another type": exif("<", ORIENTATION, (0x011A, 99, 1, 0), (0x0128, 2, 4, 0)),
    "more than there is": exif("<", ORIENTATION, (0x8769, 4, 1, 10**9), (0x8825, 4, 1, 8)),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("damage", BROKEN_EXIF)
def test_broken_exif_does_not_keep_a_picture_from_opening_upright(kind: str, damage: str) -> None:
    """The orientation is whole: viewers turn such a picture, and so must what a model sees."""
    picture = Image.new("RGB", (40, 30), "white")
    picture.paste("black", (0, 0, 10, 10))
    opened = open_image(encoded(picture, kind, exif=BROKEN_EXIF[damage]))
    assert opened.size in ((30, 40), (40, 30))
    if opened.size == (30, 40):
        assert opened.getpixel((26, 3))[0] < 40
    if "zero" in damage:
        assert opened.size == (30, 40)


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0", b"Exif\0\0II*\0", b"nonsense" * 9, b"Exif\0\0MM\0*\xff\xff\xff\xff"]
)
def test_exif_that_cannot_be_read_leaves_a_picture_as_it_is(damaged: bytes) -> None:
    picture = Image.new("RGB", (40, 30), "white")
    assert open_image(encoded(picture, "JPEG", exif=damaged)).size == (40, 30)


@pytest.mark.parametrize("orientation", range(10))
def test_each_orientation_is_turned_as_pillow_does(orientation: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 5, 3), np.uint8)
    facts = Image.Exif()
    facts[0x0112] = orientation
    data = encoded(Image.fromarray(noise), "PNG", exif=facts)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(open_image(data), expected)


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def with_chunk(kind: bytes, body: bytes) -> bytes:
    data = encoded(Image.new("RGB", (4, 4)), "PNG")
    return data[:33] + chunk(kind, body) + data[33:]


PACKED = zlib.compress(bytes(300_000_000))


@pytest.mark.parametrize(
    "data",
    [
        with_chunk(b"zTXt", b"a\0\0" + PACKED),
        with_chunk(b"iTXt", b"a\0\1\0\0\0" + PACKED),
        with_chunk(b"iCCP", b"a\0\0" + PACKED),
        with_chunk(b"tEXt", b"a\0" + bytes(20_000_000)),
        with_chunk(b"eXIf", exif("<", *((n, 1, 10**6, 8) for n in range(60_000)))[6:]),
    ],
    ids=["zTXt", "iTXt", "iCCP", "tEXt", "eXIf"],
)
def test_what_unpacks_beside_the_pixels_is_bounded(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert open_image(data).size == (4, 4)
    except InputError as error:
        assert "damaged" in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150_000_000


@pytest.mark.parametrize("repeated", ["scans", "exif", "comments"])
def test_a_jpeg_of_parts_without_end_is_refused(repeated: str) -> None:
    data = encoded(Image.fromarray(RAMP), "JPEG", progressive=True)
    scan = data[data.rfind(b"\xff\xda") : -2]
    segment = {"exif": b"\xff\xe1\0\x10Exif\0\0" + bytes(8), "comments": b"\xff\xfe\0\x02"}
    longer = {
        "scans": data[:-2] + scan * 2000 + data[-2:],
        **{kind: data[:2] + part * 2000 + data[2:] for kind, part in segment.items()},
    }[repeated]
    with pytest.raises(InputError, match="is made of too many parts"):
        open_image(longer)


def test_a_png_of_parts_without_end_is_refused() -> None:
    data = encoded(Image.new("RGB", (4, 4)), "PNG")
    few, many = (data[:33] + chunk(b"abCd", b"") * n + data[33:] for n in (1000, 60_000))
    assert open_image(few).size == (4, 4)
    with pytest.raises(InputError, match="is made of too many parts"):
        open_image(many)


def test_ordinary_jpegs_of_many_parts_open() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (300, 300, 3), np.uint8)
    picture = Image.fromarray(noise)
    profile = {"icc_profile": bytes(400_000), "comment": b"x" * 60_000}
    for options in ({}, profile, {"progressive": True}, {"restart_marker_blocks": 1}):
        data = encoded(picture, "JPEG", quality=100, **options)
        assert open_image(data + data + bytes(range(256)) * 4).size == (300, 300)


def test_pictures_within_pictures_open_as_the_first(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    for kind in ("MPO", "PNG", "WEBP"):
        data = encoded(red, kind, save_all=True, append_images=[blue] * 50)
        assert open_image(data).getpixel((8, 8))[0] > 200, kind


@pytest.mark.parametrize(
    ("size", "side", "taken"),
    [
        ((30_000, 1), 248, False),
        ((1, 30_000), 248, False),
        ((400_000, 1), 64, False),
        ((900, 1), 248, False),
        ((800, 1), 248, True),
        ((30_000, 40), 248, True),
        ((8_000, 10), 248, True),
        ((8_200, 10), 248, False),
    ],
)
def test_thin_pictures_are_refused_by_what_resizing_makes(
    size: tuple[int, int], side: int, taken: bool
) -> None:
    """The shorter side becomes `side`: own count of the pixels that this makes."""
    picture = open_image(encoded(Image.new("L", size), "PNG"))
    made = side * side * max(size) / min(size)
    assert (made <= 50_000_000) == taken
    if taken:
        check_resized(picture, side, side)
        return
    words = f"{size[0]:,} by {size[1]:,} pixels: too thin"
    with pytest.raises(InputError, match=words):
        check_resized(picture, side, side)


def test_a_stream_and_a_file_without_an_end_are_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 1001
            return bytes(size)

    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    (tmp_path / "large.png").write_bytes(bytes(1001))
    for source in (Endless(), tmp_path / "large.png", bytes(1001)):
        with pytest.raises(InputError, match="has more than 0 MB"):
            open_image(source)


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Image.Image) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(uploads, "_rgb", failing)
    with pytest.raises(InputError, match="needs more memory than there is"):
        open_image(encoded(Image.new("RGB", (4, 4)), "PNG"))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and carries next to nothing."""

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [7_100, 10_000, 40_000])
def test_huge_pictures_are_refused_before_they_are_decoded(side: int) -> None:
    with pytest.raises(InputError, match="more than 50 million pixels"):
        open_image(png_header(side, side))
