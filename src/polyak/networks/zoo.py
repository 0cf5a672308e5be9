"""timm, imported without torch's compiler.

timm and the torchvision that it imports mark a few functions for the compiler, and so import it: a
third of what every command that needs a network takes to start. Nothing here calls these functions.
Stand-ins answer while timm is imported; what they promised the real one does when it is called.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

COMPILER, ITS_UTILS = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """A module that is imported when something unexpected is read from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks for
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def zoo() -> ModuleType:
    """Import timm.

    Source: Wightman, "PyTorch Image Models", 2019.

    >>> "mobilenetv2_100" in zoo().list_models()
    True
    """
    if "timm" not in sys.modules and COMPILER not in sys.modules:
        compiler, utils = _StandIn(COMPILER), _StandIn(ITS_UTILS)
        vars(compiler)["__path__"] = []  # a package
        vars(compiler)["disable"] = _disable
        vars(utils)["is_compile_supported"] = _is_compile_supported
        sys.modules |= {COMPILER: compiler, ITS_UTILS: utils}
        try:
            return importlib.import_module("timm")
        finally:
            _dismiss()
    return importlib.import_module("timm")


def _disable(function: Callable, *how, **more) -> Callable:
    @functools.wraps(function)
    def undisturbed(*inputs, **named):
        return _real(COMPILER).disable(function, *how, **more)(*inputs, **named)

    return undisturbed


def _is_compile_supported(device: str) -> bool:
    return _real(ITS_UTILS).is_compile_supported(device)


def _real(name: str) -> ModuleType:
    _dismiss()
    return importlib.import_module(name)


def _dismiss() -> None:
    for name in (COMPILER, ITS_UTILS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]
