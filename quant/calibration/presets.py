"""How a model is quantized, as data: every trick is a field, every preset one line."""

from dataclasses import dataclass, fields, replace
from typing import Any

from quant.primitives.qparams import WIDE


@dataclass(frozen=True)
class Preset:
    """One way to quantize after training.

    Attributes:
        norm: post-LayerNorm inputs: "tensor" (one range), "repq" (a range per channel, folded
            by scale reparameterisation), "clipped" (the same, scales clipped to mean +- `clip`
            standard deviations where that lowers the layer's error) or "rotated".
        clip: standard deviations, for "clipped".
        gelu: fc2's input: "uniform", "rotated" (a Hadamard transform at run time), "adalog",
            "halves" (two uniform ranges, below and above zero) or "codebook".
        softmax: attention's probabilities: "uniform", "log-sqrt2", "adalog" or "codebook".
        patches: a convolution's input: "uniform", or "equalised" (a cosine transform, scales and
            a Hadamard transform).
        inputs: levels of inputs that are not fc2's: "uniform", or a "codebook" where its error is
            less.
        tokens: inputs of layers with weights: "alike", or "scaled" (each token divided by its own
            size, found as it runs, where that lowers the layer's error).
        per_head: q, k and v have a range per head, not one each.
        centred: keys and values lose their mean, which softmax and proj's bias absorb.
        heads: q, k and v are rotated and scaled per head, folded into qkv and proj.
        ranges: chosen by "percentile", by the tensor's error, or by the layer's "output" error.
        rounding: of weights: to the "nearest", or "gptq", which makes up for what it rounds.
        ridge: ERQ's weight of the float weights in its ridge correction; None leaves it out.
        bias: correct each bias for the mean error of its layer's output.
        sequential: calibrate each layer on inputs that the layers before it have quantized.
        views: of each calibration image, a crop or its mirror image each, that calibrate beside it
            (`quant.primitives.views`); at most 7.
        tuned: steps of learning for each block of an allocation (`quant.calibration.tuning`); 0
            leaves layers as a pass makes them.
        stream: bits of the residual stream and of LayerNorm outputs, 8 or 16, as integers with one
            range a tensor (`quant.calibration.residual_stream`); 0 leaves them in float.
    """

    name: str
    says: str
    norm: str = "rotated"
    clip: float = 2.0
    gelu: str = "codebook"
    softmax: str = "codebook"
    patches: str = "equalised"
    inputs: str = "codebook"
    tokens: str = "alike"
    per_head: bool = True
    centred: bool = True
    heads: bool = True
    ranges: str = "output"
    rounding: str = "gptq"
    ridge: float | None = None
    bias: bool = True
    sequential: bool = True
    views: int = 1
    tuned: int = 0
    stream: int = 0

    def choice(self, kind: str) -> str:
        """Return how an input is treated that is "norm", "turned", "gelu", "patches" or "plain"."""
        treated = {"norm": self.norm, "gelu": self.gelu, "patches": self.patches}
        if self.norm == "rotated":
            treated["turned"] = "centred"
        return treated.get(kind, "uniform")

    @property
    def key(self) -> str:
        """Name every choice, so that calibrations under two presets are never confused."""
        return ",".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self)[2:])


SWITCH = {"on": True, "off": False}
STREAM = {"off": 0, "8": 8, "16": WIDE}
CHOICES: dict[str, Any] = {
    "norm": ("tensor", "repq", "clipped", "rotated"),
    "clip": float,
    "gelu": ("uniform", "rotated", "adalog", "halves", "codebook"),
    "softmax": ("uniform", "log-sqrt2", "adalog", "codebook"),
    "patches": ("uniform", "equalised"),
    "inputs": ("uniform", "codebook"),
    "tokens": ("alike", "scaled"),
    "per_head": SWITCH,
    "centred": SWITCH,
    "heads": SWITCH,
    "ranges": ("percentile", "tensor", "output"),
    "rounding": ("nearest", "gptq"),
    "ridge": float,
    "bias": SWITCH,
    "sequential": SWITCH,
    "views": {str(n): n for n in range(8)},
    "tuned": {str(n): n for n in (0, 50, 100, 200, 400, 800)},
    "stream": STREAM,
}

BITLENS = Preset("bitlens", "Rotated and balanced, codebooks for inputs, GPTQ.")
BITLENS_DYNAMIC = replace(
    BITLENS,
    name="bitlens-dynamic",
    says="bitlens with a scale a token, found as it runs, where that pays.",
    tokens="scaled",
)
REPQ_VIT = Preset(
    "repq-vit",
    "RepQ-ViT (arXiv:2212.08254): scale reparameterisation and log-sqrt2.",
    norm="repq",
    gelu="uniform",
    softmax="log-sqrt2",
    patches="uniform",
    inputs="uniform",
    per_head=False,
    centred=False,
    heads=False,
    ranges="percentile",
    rounding="nearest",
    bias=False,
    sequential=False,
    views=0,
)
BITLENS_TUNED = replace(
    BITLENS,
    name="bitlens-tuned",
    says="The same, and learned by gradient for the bits in hand, which takes minutes.",
    views=3,
    tuned=100,
)
BITLENS_AFFINE = replace(
    BITLENS,
    name="bitlens-affine",
    says="The same with uniform affine quantizers throughout.",
    gelu="rotated",
    softmax="uniform",
    inputs="uniform",
)
INTEGER = replace(
    BITLENS_AFFINE,
    name="integer",
    says="bitlens-affine with one range a tensor, also for heads and patches, as kernels want.",
    patches="uniform",
    per_head=False,
)
LRP_QVIT = replace(
    REPQ_VIT,
    name="lrp-qvit",
    says="RepQ-ViT with clipped channel-wise ranges, our reading of LRP-QViT.",
    norm="clipped",
)
OURS = (BITLENS, BITLENS_AFFINE, BITLENS_DYNAMIC, BITLENS_TUNED, INTEGER)
PRESETS = {p.name: p for p in (*OURS, LRP_QVIT, REPQ_VIT)}
DEFAULT = "bitlens"


def preset(name: str) -> Preset:
    """Return a preset by name, as it is or varied: "bitlens:gelu=uniform,bias=off".

    Raises:
        ValueError: there is none of that name, or a variation is not one of its choices.
    """
    known, _, changes = name.partition(":")
    if known not in PRESETS:
        raise ValueError(f"no preset {known!r}: choose from {', '.join(PRESETS)}")
    pairs = [change.partition("=")[::2] for change in changes.split(",") if change]
    values = {field: _value(field, text) for field, text in pairs}
    return replace(PRESETS[known], **values, name=name)


def _value(field: str, text: str) -> Any:
    if field not in CHOICES:
        raise ValueError(f"a preset has no {field!r}: vary {', '.join(CHOICES)}")
    choices = CHOICES[field]
    if choices is float:
        return _number(field, text)
    if text not in choices:
        raise ValueError(f"{field}={text}: choose from {', '.join(choices)}")
    return choices[text] if isinstance(choices, dict) else text


def _number(field: str, text: str) -> float | None:
    if text == "off" and field == "ridge":
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{field}={text}: use a positive number")
    return number
