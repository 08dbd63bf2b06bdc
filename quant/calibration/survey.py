"""Find the float model's attention parts and rewrite them so that they quantize better.

The rewritten weights compute the same function. Per head, q T_q and k T_q^-T keep every score;
v T_v and T_v^-1 W_proj keep proj's output; softmax does not see a shift of the keys, and passes a
shift of the values on to proj's bias, as its rows sum to one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.interpreter import Convolution, Interpreter, Linear
from lrp.engine.layers import Layer
from quant.calibration.origins import Affine, Origins
from quant.calibration.presets import Preset
from quant.primitives.balance import balanced
from quant.primitives.transforms import rotate, signs

TOLERANCE = 1e-4  # relative; how equal two tensors must be to be taken for one


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention whose q, k and v come straight out of one layer.

    Attributes:
        qkv, proj: layer names; proj is "" where no layer reads the output as it is.
        heads: how many.
        query, key, value: second moments per head (h, d, d), of keys and values about their mean.
        key_mean, value_mean: (h, d).
        scores, mixes: whether q and k, and whether v, may be rewritten.
    """

    qkv: str
    heads: int
    query: Tensor
    key: Tensor
    value: Tensor
    key_mean: Tensor
    value_mean: Tensor
    scores: bool
    mixes: bool = False
    proj: str = ""


class Survey(Interpreter):
    """Run a model once in float, and find its attentions and what comes before each layer.

    At most one attention is under way. What a model runs takes it from step to step::

        none or mixed --- a product of q and k^T, cut out of the last layer's output ---> scored
        scored ---------- the next product ---> mixed
        mixed ----------- the next linear layer, which is proj if it reads the output ---> none

    Attributes:
        attentions: in the order they run.
        affine: weight and bias of each linear layer.
        norms: gain and bias (C,) of the LayerNorm or RMSNorm that gives a layer its input, by
            layer name.
        kinds: what each layer's input is, where it is "norm", "gelu" or "patches".
        products: of attentions, and whether both factors may be rewritten.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.attentions: list[Attention] = []
        self.affine: dict[str, Affine] = {}
        self.norms: dict[str, Affine] = {}
        self.kinds: dict[str, str] = {}
        self.products: dict[str, bool] = {}
        self._scored: tuple[Attention, Tensor] | None = None  # with its v, which it waits for
        self._mixed: Tensor | None = None  # the last attention's output (B, N, C), until its proj
        # What ran last of each kind. Outputs are held, so that their memory names them alone.
        self._origins = Origins()
        self._activation: Tensor | None = None
        self._linear: tuple[str, Tensor] | None = None

    def layer_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        output = F.layer_norm(input, normalized_shape, weight, bias, eps)
        if len(normalized_shape) == 1:
            self._origins.begin(output, weight, bias)
        return output

    def rms_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        output = F.rms_norm(input, normalized_shape, weight, eps)
        if len(normalized_shape) == 1:
            self._origins.begin(output, weight, None)
        return output

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        self._origins.follow(func, args, kwargs, output)
        return output

    def activate(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output = func(input, *args, **kwargs)
        if func is F.gelu:
            self._activation = output
        return output

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        output = form.apply(input, weight, bias)
        if isinstance(form, Convolution):
            self.kinds[name] = "patches"
            return output
        self.affine[name] = weight, weight.new_zeros(len(weight)) if bias is None else bias
        norm = self._origins.norm_of(input)
        if norm is not None:
            self.norms[name], self.kinds[name] = norm, "norm"
        elif self._activation is not None and input.data_ptr() == self._activation.data_ptr():
            self.kinds[name] = "gelu"
        if self._mixed is not None and _same(input, self._mixed):
            self.attentions[-1] = replace(self.attentions[-1], proj=name)
            self.products[list(self.products)[-1]] = self.attentions[-1].mixes
        self._mixed = None
        self._linear = name, output
        return output

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        output = torch.matmul(input, other)
        self.products[name] = False
        if self._scored is not None:
            (attention, values), total = self._scored, input.sum(-1)
            mixes = _same(other, values) and _same(total, torch.ones_like(total))
            self.attentions.append(replace(attention, mixes=mixes))
            self._scored, self._mixed = None, output.transpose(1, 2).flatten(2)
        elif (begun := self._begun(input, other)) is not None:
            self._scored, self._mixed = begun, None
            self.products[name] = begun[0].scores
        return output

    def _begun(self, query: Tensor, keys: Tensor) -> tuple[Attention, Tensor] | None:
        """Begin an attention, if the last layer's output can be its q, k and v."""
        if self._linear is None or query.dim() != 4:
            return None
        name, output = self._linear
        batch, heads, tokens, width = query.shape
        if output.shape != (batch, tokens, 3 * heads * width):
            return None
        q, k, v = output.view(batch, tokens, 3, heads, width).permute(2, 0, 3, 1, 4)
        key_mean, value_mean = (t.mean(dim=(0, 2)) for t in (k, v))
        attention = Attention(
            qkv=name,
            heads=heads,
            query=_moments(q),
            key=_moments(k - key_mean[:, None]),
            value=_moments(v - value_mean[:, None]),
            key_mean=key_mean,
            value_mean=value_mean,
            scores=_proportional(query, q) and _same(keys, k.transpose(-2, -1)),
        )
        return attention, v


def _moments(x: Tensor) -> Tensor:
    rows = x.transpose(0, 1).flatten(1, 2)  # (h, n, d)
    return rows.transpose(1, 2) @ rows / rows.shape[1]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).norm() <= TOLERANCE * b.norm())


def _proportional(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    return _same(a, b * ((a * b).sum() / b.square().sum().clamp_min(1e-30)))


def plainer(survey: Survey, preset: Preset, layers: Iterable[Layer]) -> dict[str, str]:
    """Return the layers that a preset cannot treat as it treats others of their kind, and why."""
    found: dict[str, str] = {}
    for layer in layers:
        name, outer = layer.name, layer.block and not layer.attention
        if layer.is_product and (preset.centred or preset.heads) and not survey.products.get(name):
            found[name] = "its factors are not cut straight out of one layer"
        elif (
            outer and not layer.is_product and preset.norm != "tensor" and name not in survey.kinds
        ):
            found[name] = "its input comes straight out of neither a LayerNorm nor GELU"
    return found


def rewrite(survey: Survey, centred: bool, rotated: bool) -> dict[str, Affine]:
    """Return the layers' weights and biases that change, by name."""
    changed: dict[str, Affine] = {}
    for attention in survey.attentions:
        qkv = _Sections(survey.affine[attention.qkv], attention.heads)
        if centred and attention.scores:
            qkv.shift(1, attention.key_mean)
        if rotated and attention.scores:
            forth, back = _per_head(attention.query, attention.key)
            qkv.turn(0, forth)
            qkv.turn(1, back.transpose(1, 2))
        if attention.mixes and attention.proj:
            proj = survey.affine[attention.proj]
            changed[attention.proj] = _rewrite_values(attention, qkv, proj, centred, rotated)
        changed[attention.qkv] = qkv.affine()
    return changed


class _Sections:
    """The weight and bias of a qkv layer by section (q, k, v) and head."""

    def __init__(self, affine: Affine, heads: int) -> None:
        weight, bias = affine
        self.weight = weight.clone().view(3, heads, -1, weight.shape[1])
        self.bias = bias.clone().view(3, heads, -1)

    def shift(self, section: int, mean: Tensor) -> None:
        """Take `mean` (h, d) off the output."""
        self.bias[section] -= mean

    def turn(self, section: int, transform: Tensor) -> None:
        """Multiply the output of each head (..., d) by `transform` (h, d, d) from the right."""
        self.weight[section] = transform.transpose(1, 2) @ self.weight[section]
        self.bias[section] = torch.einsum("hd,hde->he", self.bias[section], transform)

    def affine(self) -> Affine:
        return self.weight.flatten(0, 2), self.bias.flatten()


def _per_head(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Balance two factors per head and rotate them: T and its inverse, (h, d, d).

    Factors that are not finite stay as they are; the layer that holds them is named later.
    """
    if not bool(torch.isfinite(first).all() and torch.isfinite(second).all()):
        same = torch.eye(first.shape[1]).to(first).expand_as(first)
        return same, same
    pairs = []
    for a, b in zip(first, second, strict=True):
        forth, back = balanced(a, b)
        turn = rotate(torch.diag(signs(len(a)).to(forth)))
        pairs.append(((forth @ turn).to(first), (turn.T @ back).to(first)))
    return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


def _rewrite_values(
    attention: Attention,
    qkv: _Sections,
    proj: Affine,
    centred: bool,
    rotated: bool,
) -> Affine:
    weight, bias = proj
    columns = weight.view(len(weight), attention.heads, -1)  # (K, h, d)
    if centred:
        qkv.shift(2, attention.value_mean)
        bias = bias + torch.einsum("khd,hd->k", columns, attention.value_mean)
    if rotated:
        readers = torch.einsum("khd,khe->hde", columns, columns)
        forth, back = _per_head(attention.value, readers)
        qkv.turn(2, forth)
        columns = torch.einsum("khd,hed->khe", columns, back)
    return columns.flatten(1), bias
