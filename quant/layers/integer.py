"""Linear layers as integer products, on a CPU that has them: u8 inputs by s8 weights.

The same sums as in the float simulation, without its rounding: products are added up in 32 bits and
scaled once, at the end.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quant.primitives.qparams import check_bits

BYTE = 256  # codes of an 8-bit grid


def reason(device: str | torch.device = "cpu", code: int = 255, weight: int = 128) -> str | None:
    """Return why a layer on `device` cannot run in integers; None where it can.

    `code` and `weight` are the layer's largest in size. A CPU with AVX2 but not VNNI adds products
    in pairs of 16 bits: it has no room for two of 8 by 8 bits, but has for narrower ones.
    """
    if torch.device(device).type != "cpu":
        return "integer products are used on a CPU only"
    # Only newer torch tells; where it does not, simulation is right as well.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if not capabilities.get("avx2"):
        return "this CPU has no fast products of 8-bit integers (AVX2 or VNNI)"
    try:
        exact = _extremes_are_exact(code, weight)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} has no integer linear layer: {error}"
    return None if exact else f"sums of {code} by {weight} saturate on this CPU: it has no VNNI"


@dataclass(frozen=True, eq=False)
class Encoder:
    """Turn an input into unsigned codes: x ~ scale * (code - zero_point), 0 <= code < 2^bits.

    Attributes:
        scale: one step of the grid; positive.
        zero_point: a whole number; may lie outside the codes.
        bits: 2 to 8, the width of the codes; 8 with a table.
        table: of a codebook, whose few levels lie on the 8-bit grid: (256,) uint8, the code of
            the level nearest to each point of the grid.
    """

    scale: float
    zero_point: int
    bits: int
    table: Tensor | None = None

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"a scale of {self.scale!r}: use a positive number")
        if self.table is not None and (self.bits != 8 or len(self.table) != BYTE):
            raise ValueError(
                f"a table of {len(self.table)} codes at {self.bits} bits: use 256 codes of 8 bits"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return the codes of x (...), uint8."""
        points = self._points(x)
        if self.table is not None:
            # By far the fastest look-up torch has on a CPU.
            return self.table.index_select(0, points.to(torch.int32).flatten()).view(x.shape)
        # A cast to uint8 is several times slower than one to int8 of the same bits.
        if self.bits < 8:
            return points.to(torch.int8).view(torch.uint8)
        return points.sub_(BYTE // 2).to(torch.int8).view(torch.uint8).bitwise_xor_(BYTE // 2)

    def centred(self, x: Tensor) -> Tensor:
        """Return code - zero_point for x (...), as floats; times `scale`, what x is taken for."""
        codes = self._points(x) if self.table is None else self(x).to(x.dtype)
        return codes.sub_(self.zero_point)

    def _points(self, x: Tensor) -> Tensor:
        """Return clamp(round(x / scale + zero_point), 0, 2^b - 1), as floats; x (...)."""
        points = torch.add(torch.tensor(float(self.zero_point)), x, alpha=1 / self.scale)
        return points.round_().clamp_(0, 2**self.bits - 1)


class IntegerLinear:
    """A linear layer in integers; any number of threads may call one layer.

    y[k] = bias[k] + scale * weight_scale[k] * sum_c (code[c] - zero_point) * codes[k, c]

    Simulated, F.linear(encoder.centred(x), codes.float()).mul_(scale * weight_scale).add_(bias) is
    the same to the last bit, as long as no sum reaches 2^24, where floats stop being exact.

    Args:
        codes: (K, C) int8 weights, of 2 to 8 bits; a byte each is kept, in an order of its own.
        weight_scale: (K,).
        bias: (K,), or None.

    Raises:
        ValueError: `codes` is not a matrix of int8, or `weight_scale` not of its height.
    """

    def __init__(
        self, codes: Tensor, weight_scale: Tensor, bias: Tensor | None, encoder: Encoder
    ) -> None:
        if codes.dtype != torch.int8 or codes.dim() != 2:
            raise ValueError(f"{codes.dtype} codes of shape {tuple(codes.shape)}: use (K, C) int8")
        if weight_scale.shape != codes.shape[:1]:
            raise ValueError(f"{tuple(weight_scale.shape)} scales: use one a row, ({len(codes)},)")
        self.encoder = encoder
        self.zero_point = encoder.zero_point
        # As one factor: given two, versions of the kernel multiply them in different orders.
        self.scale = weight_scale.detach().float() * encoder.scale
        self.bias = None if bias is None else bias.detach().float().contiguous()
        self._weight_zero_points = torch.zeros(len(codes), dtype=torch.int64)
        self._fold_far_zero_point(codes)
        self._packed = torch.ops.onednn.qlinear_prepack(codes, None)

    def _fold_far_zero_point(self, codes: Tensor) -> None:
        """Move a zero point so far off that 32 bits would not hold its products into the bias."""
        sums = codes.sum(1, dtype=torch.int64)
        if abs(self.zero_point) * int(codes.long().abs().sum(1).max()) < 2**30:
            return
        shift = sums.double() * self.scale * self.zero_point
        self.bias = (-shift if self.bias is None else self.bias - shift).float()
        self.zero_point = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Return the layer's output for x (..., C): (..., K), float32."""
        return self.multiply(self.encoder(x))

    def multiply(self, codes: Tensor) -> Tensor:
        """Return the layer's output for an encoded input (..., C) uint8: (..., K), float32."""
        output = torch.ops.onednn.qlinear_pointwise(
            codes,
            1.0,
            self.zero_point,
            self._packed,
            self.scale,
            self._weight_zero_points,
            self.bias,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        # The output of an empty input comes without its shape.
        return output.view(*codes.shape[:-1], len(self.scale))


def _extremes_are_exact(code: int, weight: int) -> bool:
    """Return whether a row of the largest products adds up: where sums saturate, it does not."""
    signed = torch.tensor([[-weight], [min(weight, 127)]])
    codes = signed.to(torch.int8).expand(2, 64).contiguous()
    layer = IntegerLinear(codes, torch.ones(2), None, Encoder(1.0, 0, 8))
    sums = layer.multiply(torch.full((16, 64), code, dtype=torch.uint8))
    return torch.equal(sums, (64.0 * code * signed.float()).T.expand(16, 2))
