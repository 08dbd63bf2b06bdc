"""Know which module of a model is running, per thread.

Hooks are put on a model once. They only keep a stack of module names, so outputs stay
bit-identical, and the stack is thread-local, so sessions can share one set of weights.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any

from torch import nn

from lrp.engine.names import product_name, sum_name

Enter = Callable[[str, nn.Module, tuple[Any, ...]], None]
Leave = Callable[[str, nn.Module, Any], None]


class Scope(threading.local):
    """The stack of running modules of one model, innermost last."""

    def __init__(self) -> None:
        self.reset()

    def reset(self, on_enter: Enter | None = None, on_leave: Leave | None = None) -> None:
        """Empty the stack before a run; tell of every module entered, and of what it gave."""
        self.names: list[str] = []
        self.products: list[int] = []
        self.sums: list[int] = []
        self.on_enter, self.on_leave = on_enter, on_leave

    @property
    def current(self) -> str:
        """The dotted name of the innermost running module ("" is the model)."""
        return self.names[-1] if self.names else ""

    def next_product(self) -> str:
        """Name the next activation-by-activation product of the running module."""
        self.products[-1] += 1
        return product_name(self.current, self.products[-1])

    def next_sum(self) -> str:
        """Name the next sum of two tensors of the running module."""
        self.sums[-1] += 1
        return sum_name(self.current, self.sums[-1])


_scopes: weakref.WeakKeyDictionary[nn.Module, Scope] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def scope_of(model: nn.Module) -> Scope:
    """Return the scope of `model`, hooking its modules at the first call."""
    with _lock:
        if model not in _scopes:
            _scopes[model] = _instrument(model)
        return _scopes[model]


def _instrument(model: nn.Module) -> Scope:
    scope = Scope()

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if scope.names:
            if scope.on_leave is not None:
                scope.on_leave(scope.current, module, output)
            scope.names.pop()
            scope.products.pop()
            scope.sums.pop()

    for name, module in model.named_modules():
        module.register_forward_pre_hook(_entered(scope, name))
        # always_call: an exception in the module must not leave its name on the stack.
        module.register_forward_hook(leave, always_call=True)
    return scope


def _entered(scope: Scope, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        scope.names.append(name)
        scope.products.append(0)
        scope.sums.append(0)
        if scope.on_enter is not None:
            scope.on_enter(name, module, inputs)

    return hook
