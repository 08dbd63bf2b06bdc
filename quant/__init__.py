"""Post-training quantization of timm vision transformers, and where to spend its bits.

Read `primitives` (arithmetic), `layers` (one quantized layer), `calibration` (all of a model's),
`model` (it runs) and `evaluation` (how well); then `analysis` (what each layer's bits are worth),
`allocation` (spend a budget), `experiments`, `history` (all that was measured), `export` and
`report` (what is handed over) and `commands`.
"""

from quant.allocation.allocation_file import read_allocation
from quant.allocation.budget import Choices, Limits, combine, from_average, from_size, offer
from quant.allocation.cost import Cost, CostModel
from quant.allocation.exact import exact
from quant.allocation.infeasible import Infeasible
from quant.allocation.objectives import Losses, by_product, by_scores, by_sensitivity
from quant.allocation.path import BudgetPlan, Solution, budget_plan
from quant.analysis.damage import damage
from quant.analysis.sensitivity import Sensitivity
from quant.analysis.sensitivity_estimation import estimate, measure
from quant.calibration.calibration import Calibration, calibrate
from quant.calibration.presets import PRESETS, Preset, preset
from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.image_set import Pictures
from quant.evaluation.logits import Logits, float_logits
from quant.evaluation.stream import stream
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import MENU, Allocation, LayerBits, uniform
from quant.primitives.targets import TARGETS, Target

__all__ = [
    "MENU",
    "PRESETS",
    "TARGETS",
    "Allocation",
    "Answers",
    "BudgetPlan",
    "Calibration",
    "Choices",
    "Cost",
    "CostModel",
    "Evaluation",
    "Infeasible",
    "LayerBits",
    "Limits",
    "Logits",
    "Losses",
    "Pictures",
    "Preset",
    "QuantizedModel",
    "Sensitivity",
    "Solution",
    "Target",
    "budget_plan",
    "by_product",
    "by_scores",
    "by_sensitivity",
    "calibrate",
    "combine",
    "damage",
    "estimate",
    "exact",
    "float_logits",
    "from_average",
    "from_size",
    "measure",
    "offer",
    "preset",
    "read_allocation",
    "stream",
    "uniform",
]
