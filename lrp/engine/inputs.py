"""What long computations are given: a model and images, with keys that name what they are."""

from typing import Protocol

from torch import Tensor, nn


class Model(Protocol):
    """A float model, by the name its user gave and a key of its weights."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def model(self) -> nn.Module: ...


class Images(Protocol):
    """Prepared pictures (3, H, W) and their classes, in a fixed order."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int]: ...


class KeyedImages(Images, Protocol):
    """Images with a key that names them all, and the places where they stand in their source."""

    @property
    def key(self) -> str: ...
    @property
    def indices(self) -> tuple[int, ...]: ...
