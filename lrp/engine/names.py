"""The names of layers: made and read here alone, and keys everywhere else.

A layer with weights has timm's dotted name. An attention product is called after the module that
it runs in: `blocks.3.attn.matmul1` (q k^T) and `.matmul2` (attention times v). So is a sum:
`blocks.3.add1` (x + attn(x)), `.add2` (x + mlp(x)), and `add1` of the model itself (x + positions).
"""

import re

_BLOCK = re.compile(r"^(?:.*\.)?blocks\w*\.\d+(?=\.|$)")
_PRODUCT, _SUM = "matmul", "add"


def product_name(module: str, number: int) -> str:
    """Return the name of the product that `module` runs as its `number`th, from 1."""
    return f"{module}.{_PRODUCT}{number}".lstrip(".")


def sum_name(module: str, number: int) -> str:
    """Return the name of the sum that `module` runs as its `number`th, from 1."""
    return f"{module}.{_SUM}{number}".lstrip(".")


def is_sum(name: str) -> bool:
    """Return whether a name is a sum's."""
    return role_of(name).rstrip("0123456789") == _SUM


def is_product(name: str) -> bool:
    """Return whether a layer is a product of two activations."""
    return role_of(name).startswith(_PRODUCT)


def role_of(name: str) -> str:
    """Return the last part of a name, such as "qkv" or "fc1"."""
    return name.rpartition(".")[2]


def owner_of(name: str) -> str:
    """Return the module that a module, parameter or product belongs to ("" is the model)."""
    return name.rpartition(".")[0]


def is_within(name: str, module: str) -> bool:
    """Return whether `name` is `module` or something in it."""
    return f"{name}.".startswith(f"{module}.")


def block_of(name: str) -> str:
    """Return the dotted name of the transformer block that `name` lies in, or ""."""
    match = _BLOCK.match(name)
    return match.group(0) if match else ""


def part_of(name: str) -> str:
    """Return what a layer is wherever it stands: "blocks.3.attn.qkv" -> "attn.qkv"."""
    return ".".join(part for part in name.split(".")[-2:] if not part.isdigit())


def number_of(block: str) -> str:
    """Return where a block stands: "layers.1.blocks.0" -> "1.0"; no block is ""."""
    return ".".join(part for part in block.split(".") if part.isdigit())
