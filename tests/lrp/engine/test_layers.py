import copy

import pytest
import timm
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lrp.engine.layers import list_layers
from lrp.engine.names import block_of
from tests.models import SIZE


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("deit_tiny_patch16_224", 74),
        ("swin_tiny_patch4_window7_224", 77),
        ("swinv2_cr_tiny_224", None),
    ],
)
def test_full_size_models_have_the_published_number_of_layers(name, count):
    model = timm.create_model(name).eval().requires_grad_(False)
    layers = list_layers(model, (3, 224, 224))
    if count is not None:
        assert len(layers) == count
    weights = {n.rpartition(".")[0] for n, p in model.named_parameters() if p.dim() > 1}
    assert {layer.name for layer in layers if layer.kind != "matmul"} <= weights


def test_macs_are_those_of_torchs_flop_counter(model):
    # the counter does not know the CPU's fused attention
    unfused = sdpa_kernel(SDPBackend.MATH)
    with unfused, FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *SIZE))
    assert 2 * sum(layer.macs for layer in list_layers(model, SIZE)) == counter.get_total_flops()


def test_parameters_are_the_weights_of_the_named_modules(model):
    for layer in list_layers(model, SIZE):
        weight = 0 if layer.kind == "matmul" else model.get_submodule(layer.name).weight.numel()
        assert layer.parameters == weight


def test_products_stand_between_qkv_and_proj(model):
    names = [layer.name for layer in list_layers(model, SIZE)]
    for index, name in enumerate(names):
        if name.endswith("attn.qkv"):
            attention = name.removesuffix(".qkv")
            assert names[index + 1 : index + 4] == [
                f"{attention}.{role}" for role in ("matmul1", "matmul2", "proj")
            ]


def test_position_bias_networks_are_no_layers():
    model = timm.create_model(
        "swinv2_tiny_window8_256", img_size=64, depths=(1, 1), embed_dim=24, num_heads=(1, 2)
    )
    model.eval().requires_grad_(False)
    assert not [la.name for la in list_layers(model, (3, 64, 64)) if "cpb_mlp" in la.name]


def test_trainable_models_are_refused_by_name(model):
    model.requires_grad_(True)
    with pytest.raises(ValueError, match="requires_grad_"):
        list_layers(model, SIZE)


def test_block_of():
    assert block_of("layers.1.blocks.0.attn.qkv") == "layers.1.blocks.0"
    assert block_of("blocks.11.mlp.fc1") == "blocks.11"
    assert block_of("blocks_token_only.1.attn.q") == "blocks_token_only.1"
    assert block_of("head") == block_of("myblocks.1.x") == ""


def test_listing_does_not_depend_on_the_mode_of_the_caller(model):
    copies = [copy.deepcopy(model) for _ in range(2)]  # the layers of one model are remembered
    wanted = list_layers(model, SIZE)
    for mode, other in zip((torch.no_grad, torch.inference_mode), copies, strict=True):
        with mode():
            assert list_layers(other, SIZE) == wanted
