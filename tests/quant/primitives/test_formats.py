"""Number formats, bit by bit, against element types by another hand (ml_dtypes)."""

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor

from quant.primitives.floats import (
    Cast,
    PerToken,
    SmallFloat,
    block_scales,
    float_grid,
    float_quantizer,
    tensor_scale,
)
from quant.primitives.formats import (
    BF16,
    E2M1,
    E2M3,
    E4M3,
    FORMATS,
    FP8,
    HALF,
    MXFP4,
    MXFP6,
    NVFP4,
    PALETTES,
    WIDTHS,
    Element,
    label,
    plain,
    price,
    read_width,
)

TYPES = {
    E2M1: ml_dtypes.float4_e2m1fn,
    E2M3: ml_dtypes.float6_e2m3fn,
    E4M3: ml_dtypes.float8_e4m3fn,
}
OF = {FP8: E4M3, MXFP4: E2M1, MXFP6: E2M3, NVFP4: E2M1}
BLOCKS = {MXFP4: 32, MXFP6: 32, NVFP4: 16}


def to_element(x: np.ndarray, element: Element) -> np.ndarray:
    """Round by ml_dtypes; what is above the greatest number becomes it."""
    kind = TYPES[element]
    largest = float(ml_dtypes.finfo(kind).max)
    return np.clip(x, -largest, largest).astype(kind).astype(np.float32)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Values over many powers of two, zeros and ties among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator)
    x = x * torch.exp2(torch.randint(-12, 8, shape, generator=generator).float())
    ties = torch.randint(-40, 40, shape, generator=generator) / 8
    chosen = torch.randint(0, 6, shape, generator=generator)
    return torch.where(chosen == 0, ties, torch.where(chosen == 1, 0.0, x))


@pytest.mark.parametrize("element", TYPES, ids=["E2M1", "E2M3", "E4M3"])
def test_elements_are_rounded_as_by_another_hand(element: Element) -> None:
    every = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    every = np.unique(every[np.isfinite(every)])
    between = (every[1:] + every[:-1]) / 2  # ties
    x = np.concatenate([every, between, np.nextafter(between, np.float32(9e9)), drawn(5000)])
    x = x.astype(np.float32)
    found = element.round(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(found, to_element(x, element))
    assert element.largest == float(ml_dtypes.finfo(TYPES[element]).max)


def by_hand(x: np.ndarray, code: int, scale: float) -> np.ndarray:
    """A row (C,) by the definitions, block by block."""
    element = OF[code]
    if code == FP8:
        return to_element(x / np.float32(scale), element) * np.float32(scale)
    rounded = np.empty_like(x)
    for start in range(0, len(x), BLOCKS[code]):
        block = x[start : start + BLOCKS[code]]
        most = np.float32(np.abs(block).max())
        if code == NVFP4:
            part = to_element(most / np.float32(6) / np.float32(scale), E4M3) * np.float32(scale)
        else:
            top = {E2M1: 2, E2M3: 2}[element]
            exponent = np.floor(np.log2(most)) - top if most else 0
            part = np.float32(2.0) ** np.float32(np.clip(exponent, -127, 127))
            assert part == np.asarray(part).astype(ml_dtypes.float8_e8m0fnu).astype(np.float32)
        safe = part if part > 0 else np.float32(1)
        rounded[start : start + BLOCKS[code]] = to_element(block / safe, element) * part
    return rounded


@pytest.mark.parametrize("code", OF, ids=label)
@pytest.mark.parametrize("size", [64, 50, 7])
def test_tensors_are_rounded_by_the_definition(code: int, size: int) -> None:
    x = drawn(6, size, seed=size)
    quantizer = float_quantizer(x, code)
    assert isinstance(quantizer, SmallFloat)
    expected = np.stack([by_hand(row, code, quantizer.scale) for row in x.numpy()])
    np.testing.assert_array_equal(quantizer(x.clone()).numpy(), expected)
    turned = SmallFloat(code, quantizer.scale, axis=-2)
    np.testing.assert_array_equal(turned(x.T.contiguous()).T.numpy(), expected)


@pytest.mark.parametrize("code", OF, ids=label)
def test_a_value_keeps_what_its_format_holds(code: int) -> None:
    """Rounding again changes nothing."""
    x = drawn(4, 64, seed=3)
    quantizer = float_quantizer(x, code)
    once = quantizer(x)
    again = type(quantizer)(**vars(quantizer))(once)
    assert torch.equal(once, again) or code == NVFP4  # a block's greatest may have become less
    assert torch.isfinite(once).all()
    assert torch.equal(float_quantizer(x * 0, code)(x * 0), x * 0)


def test_prices_are_the_bits_of_a_value_and_its_share_of_a_scale() -> None:
    for code, element in OF.items():
        bits = ml_dtypes.finfo(TYPES[element]).bits
        share = 8 / BLOCKS[code] if code in BLOCKS else 0
        assert price(code) == bits + share
        assert FORMATS[code].block == BLOCKS.get(code, 0)
    assert [price(width) for width in (2, 8, HALF, BF16)] == [2, 8, 16, 16]


@pytest.mark.parametrize("code", [HALF, BF16], ids=label)
def test_16_bits_saturate(code: int) -> None:
    kind = {HALF: np.float16, BF16: ml_dtypes.bfloat16}[code]
    x = torch.cat([drawn(1000), torch.tensor([1e5, -1e5, 3.4e38])])
    most = float(ml_dtypes.finfo(kind).max)
    expected = x.numpy().clip(-most, most).astype(kind).astype(np.float32)
    np.testing.assert_array_equal(Cast(code)(x).numpy(), expected)


def test_a_range_a_token_is_torchaos() -> None:
    torchao = pytest.importorskip("torchao.quantization.quantize_.workflows")
    module = torchao.intx.intx_unpacked_to_int8_tensor
    x = drawn(5, 7, 33, seed=9)
    x[0, 0], x[0, 1] = 0.0, 3.0
    expected = module._apply_int8_act_asym_per_token_quant_dequant(x)
    torch.testing.assert_close(PerToken()(x.clone()), expected, rtol=0, atol=0)


@pytest.mark.parametrize("bits", PALETTES)
def test_palettes_hold_so_many_values_a_row(bits: int) -> None:
    weight = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    grid = float_grid(weight, PALETTES[bits], torch.ones(300))
    found = grid.nearest(weight) / grid.scale
    assert len(found.round(decimals=5).unique()) <= 2**bits
    even = torch.linspace(-1, 1, 2**bits)  # what a palette must not be worse than
    plainly = even[((weight / grid.scale)[..., None] - even).abs().argmin(-1)]
    wanted = weight / grid.scale
    assert float((found - wanted).square().sum()) <= 1.01 * float((plainly - wanted).square().sum())


def test_weights_of_blocks_have_scales_along_the_sum() -> None:
    weight = drawn(3, 40)
    for code in (MXFP4, NVFP4):
        scale = block_scales(weight, code, tensor_scale(weight, code))
        for start in range(0, 40, FORMATS[code].block):
            part = scale[:, start : start + FORMATS[code].block]
            assert torch.equal(part, part[:, :1].expand_as(part))


@pytest.mark.parametrize("code", WIDTHS, ids=label)
def test_widths_are_read_as_they_are_written(code: int) -> None:
    assert read_width(plain(code)) == code
    assert read_width(str(plain(code)).lower()) == code


@pytest.mark.parametrize(
    "text", ["", "9", "MXFP5", "-4", "4.0", "99999999999", "108", 0, 9, 108, 4.0, True]
)
def test_other_widths_are_refused(text: int | str) -> None:
    with pytest.raises(ValueError, match="use a whole number from 2 to 8"):
        read_width(text)
