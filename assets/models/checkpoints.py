"""Find a model's weights in what a checkpoint file holds: unwrapped, named as the model does."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from assets.errors import InputError, shown
from assets.models.reading import Content

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # timm's order of preference
DEEPEST, LONGEST = 5, 50  # dicts in dicts, and parts of a name
# What DataParallel, torch.compile, FSDP and activation checkpointing put into names, at any depth.
INSERTED = re.compile(
    r"(?<![^.])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
EMA = re.compile(r"(?<![a-z])ema(?![a-z])", re.IGNORECASE)

State = dict[str, Tensor]


class Found(NamedTuple):
    """A state dict that may be the wanted one: under which keys, and after which prefix, it was."""

    keys: tuple[str, ...]
    prefix: str
    state: State
    left: int  # tensors beside those with the prefix
    fitting: int  # names that the model has too

    @property
    def rank(self) -> tuple[int, bool, bool]:
        """How good it is: most names fit, then averaged weights as timm has it, then no prefix."""
        return self.fitting, bool(EMA.search(self.where)), not self.prefix

    @property
    def where(self) -> str:
        """Where it was, for a message."""
        return shown(": ".join([*self.keys, self.prefix]).removesuffix(": "), 60)


def find(content: Content, expected: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """Return the tensors that are most like a model's state dict, and what is to be said of them.

    Raises InputError where there are none, several are as likely, or one is no plain tensor.
    """
    name, offered = content.name, list(_offered(content.held, expected))
    if not offered:
        kind = "names its tensors by number" if _numbered(content.held) else "holds no state dict"
        raise InputError(f"{name} {kind}: save model.state_dict() to a file")
    best = max(offered, key=lambda found: found.rank)
    equal = [found for found in offered if found.rank == best.rank]
    rivals = [found for found in equal if not _preferred(best, found)]
    if len(rivals) > 1 and best.fitting:
        places = " and ".join(found.where for found in rivals[:2])
        raise InputError(f"{name} holds several models, {places}: save the state dict of one")
    for key, value in best.state.items():
        _check_tensor(name, key, value)
    _check_sizes(content, best.state)
    return best.state, tuple(_notes(best, offered))


def _preferred(best: Found, other: Found) -> bool:
    """Return whether timm's order of wrappers decides for the best one."""
    return best.keys != other.keys and bool(best.keys) and best.keys[-1] in WRAPPERS


def _notes(best: Found, offered: list[Found]) -> Iterator[str]:
    rest = [found for found in offered if found.fitting == best.fitting and found is not best]
    if rest and EMA.search(best.where):
        yield f"of its weights the averaged ones are used ({best.where})"
    if best.left:
        yield f"{best.left} tensors beside {best.where} are left out"


def _offered(held: object, expected: Mapping[str, Tensor]) -> Iterator[Found]:
    for keys, state in _nested(held):
        yield from _prefixed(keys, state, expected)


def _nested(held: object) -> Iterator[tuple[tuple[str, ...], State]]:
    """Go through all dicts in dicts that hold tensors by name, those of timm's wrappers first."""
    seen: set[int] = set()
    todo: list[tuple[tuple[str, ...], object]] = [((), held)]
    while todo:
        keys, one = todo.pop()
        if not isinstance(one, dict) or id(one) in seen or len(keys) > DEEPEST:
            continue
        seen.add(id(one))
        named: dict[str, Any] = {key: one[key] for key in one if isinstance(key, str)}
        state = {key: value for key, value in named.items() if isinstance(value, Tensor)}
        if state:
            yield keys, _cleaned(state)
        inner = [key for key in named if isinstance(named[key], dict)]
        inner.sort(key=lambda key: WRAPPERS.index(key) if key in WRAPPERS else len(WRAPPERS))
        todo += [((*keys, key), named[key]) for key in reversed(inner)]


def _numbered(held: object) -> bool:
    return isinstance(held, dict) and any(
        isinstance(value, Tensor) and not isinstance(key, str) for key, value in held.items()
    )


def _cleaned(state: State) -> State:
    """Take what wrappers insert out of names, unless two become one."""
    cleaned = {INSERTED.sub("", key): value for key, value in state.items()}
    return cleaned if len(cleaned) == len(state) else state


def _prefixed(
    keys: tuple[str, ...], state: State, expected: Mapping[str, Tensor]
) -> Iterator[Found]:
    """Offer the part of a state dict after each prefix that leaves names of the model's."""
    counts: Counter[str] = Counter()
    for key in state:
        parts = key.split(".", LONGEST)
        starts = [".".join([*parts[:i], ""]) if i else "" for i in range(len(parts))]
        counts.update(start for start in starts if key[len(start) :] in expected)
    most = max(counts.values(), default=0)
    for prefix in [start for start, count in counts.items() if count == most] or [""]:
        part = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        yield Found(keys, prefix, part, len(state) - len(part), most)


def _check_tensor(name: str, key: str, value: Tensor) -> None:
    """Raise InputError unless a tensor is a plain one of real numbers."""
    kinds = {
        "a sparse tensor": value.layout is not torch.strided or value.is_nested,
        "a tensor without data": value.is_meta,
        "a quantized tensor": value.is_quantized,
        "a complex tensor": value.is_complex(),
    }
    for kind, it_is in kinds.items():
        if it_is:
            remedy = "save plain floating-point weights"
            raise InputError(f"{name} holds {kind} as {shown(key, 80)}: {remedy}")


def _check_sizes(content: Content, state: State) -> None:
    """Raise InputError where tensors have more numbers than the file has room for."""
    storages = [value.untyped_storage() for value in state.values()]
    room = {storage.data_ptr(): storage.nbytes() for storage in storages}
    if sum(room.values()) > content.size:
        size = f"{content.size:,} bytes"
        raise InputError(f"{content.name} claims to hold more than its {size}: save it anew")
    for key, value in state.items():
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            remedy = "save a copy of it (tensor.clone())"
            shape = f"{shown(key, 80)} of shape {tuple(value.shape)}"
            raise InputError(f"{content.name} repeats a few numbers as {shape}: {remedy}")
