"""What a model is to run on, as data: the widths that are there, and how they compute."""

from dataclasses import dataclass
from itertools import product

from lrp.engine.layers import Layer
from quant.primitives.formats import (
    BF16,
    DYNAMIC,
    FLOAT,
    FP8,
    HALF,
    INTEGERS,
    MXFP4,
    MXFP6,
    NVFP4,
    PALETTES,
    price,
)

Pair = tuple[int, int]
_WHOLE: Pair = (FLOAT, FLOAT)


@dataclass(frozen=True)
class Target:
    """One kind of hardware or runtime. What a pair costs is its formats' (`formats.price`).

    Attributes:
        key: its name in files and commands.
        label: its name for people.
        says: what it stands for, in a sentence.
        pairs: (weight, activation) widths that a layer with weights may take, cheapest first; one
            of them is the cheapest on both sides.
        products: the same of an attention product, (second operand, first operand).
        integers: pairs that multiply integers there.
        floats: pairs that multiply low-precision floats there. All others are computed in 16 or 32
            bit floats, so that they save memory and not work.
        kept: kinds of layers (`Layer.kind`) that stay in float there.
    """

    key: str
    label: str
    says: str
    pairs: tuple[Pair, ...]
    products: tuple[Pair, ...]
    integers: frozenset[Pair] = frozenset()
    floats: frozenset[Pair] = frozenset()
    kept: frozenset[str] = frozenset()

    def of(self, layer: Layer) -> tuple[Pair, ...]:
        """Return the pairs that a layer may take."""
        if layer.kind in self.kept:
            return (_WHOLE,)
        return self.products if layer.is_product else self.pairs

    @property
    def widths(self) -> tuple[int, ...]:
        """Every width that occurs, by price."""
        codes = {code for pair in (*self.pairs, *self.products) for code in pair}
        return tuple(sorted(codes, key=lambda code: (price(code), code)))

    @property
    def narrowest(self) -> float:
        """The price of its cheapest width, in bits."""
        return price(self.widths[0])

    @property
    def widest(self) -> float:
        """The price of its dearest width, in bits."""
        return price(self.widths[-1])

    @property
    def tieable(self) -> bool:
        """Whether weights and activations may be asked to take the same width in every layer."""
        return all((weight, weight) in self.pairs for weight, _ in self.pairs)


def _alike(*codes: int) -> tuple[Pair, ...]:
    return tuple((code, code) for code in codes)


def _target(
    key: str,
    label: str,
    says: str,
    pairs: tuple[Pair, ...],
    products: tuple[Pair, ...] | None = None,
    integers: tuple[Pair, ...] = (),
    floats: tuple[Pair, ...] = (),
    kept: tuple[str, ...] = (),
) -> Target:
    products = pairs if products is None else products
    computes = frozenset(integers), frozenset(floats)
    return Target(key, label, says, pairs, products, *computes, frozenset(kept))


_ANY, _FEW = tuple(product(INTEGERS, INTEGERS)), tuple(product((2, 4, 8), (2, 4, 8)))
_BYTES = ((8, 8),)
_MX, _NV = _alike(MXFP4, MXFP6, FP8), _alike(NVFP4, FP8)
ANY = _target("any", "Any width", "Research and FPGAs: 2 to 8 by 2 to 8 bits.", _ANY, integers=_ANY)
TARGETS = {
    target.key: target
    for target in (
        ANY,
        _target(
            "int8",
            "INT8",
            "ONNX Runtime, TensorRT, OpenVINO: 8 by 8 bits, and float for layers left out.",
            (*_BYTES, _WHOLE),
            integers=_BYTES,
        ),
        _target(
            "w4a8",
            "W4A8",
            "Weights of 4 or 8 bits, activations of 8, and float for layers left out.",
            ((4, 8), *_BYTES, _WHOLE),
            (*_BYTES, _WHOLE),
            integers=((4, 8), *_BYTES),
        ),
        _target(
            "weights",
            "Weights only",
            "Weights of 4, 8 or 16 bits, all activations of 16: less memory, no less work.",
            ((4, HALF), (8, HALF), (HALF, HALF)),
            _alike(HALF),
        ),
        _target("2-4-8", "2, 4 or 8 bits", "Widths that fill bytes.", _FEW, integers=_FEW),
        _target(
            "coreml",
            "Core ML palettes",
            "Apple: weights looked up in palettes of 1 to 8 bits, activations of 8 or 16.",
            tuple(product((*PALETTES.values(), HALF), (8, HALF))),
            ((8, 8), (HALF, HALF)),
        ),
        _target(
            "torchao",
            "torchao",
            "PyTorch: weights of 2 to 8 bits, activations of 8 a token; attention and patches in "
            "float.",
            (*((bits, DYNAMIC) for bits in INTEGERS), _WHOLE),
            (_WHOLE,),
            integers=tuple((bits, DYNAMIC) for bits in INTEGERS),
            kept=("matmul", "conv2d"),
        ),
        _target(
            "nvidia",
            "NVFP4 / FP8 / BF16",
            "NVIDIA Blackwell: 4.5, 8 or 16 bits a value.",
            (*_NV, *_alike(BF16)),
            floats=_NV,
        ),
        _target(
            "mx",
            "MXFP4 / MXFP6 / FP8",
            "OCP Microscaling: 4.25, 6.25 or 8 bits a value.",
            _MX,
            floats=_MX,
        ),
    )
}


def target(key: str) -> Target:
    """Return a target by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if key not in TARGETS:
        raise ValueError(f"no target {key!r}: choose from {', '.join(TARGETS)}")
    return TARGETS[key]
