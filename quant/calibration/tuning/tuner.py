"""Learn the layers of an allocation, block after block, on images without labels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrp.engine.names import is_within
from lrp.engine.progress import Progress
from quant.calibration.passes import Surveyed
from quant.calibration.tuning.block import BlockTuner, Layers, Lesson
from quant.calibration.tuning.running import Running, find_blocks, weigh_tokens
from quant.primitives.quantizers import Quantizer


class Tuner:
    """Learns the layers of one allocation.

    Args:
        layers: as a calibration pass made them, by name.
        stream: as of `Running`.
        images: (B, 3, H, W), the first `count` of them images, the others views of these.
    """

    def __init__(
        self,
        surveyed: Surveyed,
        layers: Layers,
        stream: dict[str, Quantizer],
        images: Tensor,
        count: int,
    ) -> None:
        self._surveyed, self._layers, self._stream = surveyed, dict(layers), stream
        self._images, self._count = images, count

    def tune(
        self, known: Layers, steps: int, keep: Callable[[Layers], None], progress: Progress
    ) -> Layers:
        """Return the layers that were learned, those of blocks; others stay as they are.

        Each block is learned behind the quantized blocks before it, towards what the float model
        gives (after BRECQ, arXiv:2102.05426, and QDrop's asymmetric targets): our reading.

        Args:
            known: layers that were learned before; their blocks are not learned again.
            steps: of learning, a block.
            keep: is given all that is learned so far, after each block.
            progress: counts steps.

        Raises:
            Cancelled: the work was to stop.
        """
        found, blocks = dict(known), find_blocks(self._surveyed, self._images[:1])
        named = {block: [n for n in self._layers if is_within(n, block)] for block in blocks}
        named = {block: names for block, names in named.items() if names}
        left = [block for block, names in named.items() if not found.keys() >= set(names)]
        weights = self._weights(left)
        for index, (block, names) in enumerate(named.items()):
            if block in left:
                part = progress.part(index, len(named))
                layers = {name: self._layers[name] for name in names}
                found |= self._block(block, layers, found, weights[block], steps, index, part)
                keep(found)
        progress(len(named) * steps, len(named) * steps)
        return found

    def _weights(self, blocks: Sequence[str]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(0)
        return weigh_tokens(self._surveyed, blocks, self._images, generator) if blocks else {}

    def _block(
        self,
        block: str,
        layers: Layers,
        found: Layers,
        weights: Tensor,
        steps: int,
        seed: int,
        progress: Progress,
    ) -> Layers:
        plain = Running(self._surveyed, {})
        running = Running(self._surveyed, {**self._layers, **found}, self._stream)
        outputs = plain.out_of(block, plain.into(block, self._images))
        inputs = running.into(block, self._images)
        lesson = Lesson(inputs, outputs, weights, self._count)
        generator = torch.Generator().manual_seed(seed)
        return BlockTuner(block, running, lesson, generator).tune(layers, steps, progress)
