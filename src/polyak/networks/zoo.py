"""timm, imported without torch's compiler.

timm and the torchvision that it imports mark a few functions for the compiler, and so import it: a
third of what every command that needs a network takes to start. Nothing here calls these functions.
Stand-ins answer while timm is imported; what they promised the real one does when it is called.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

COMPILER, ITS_UTILS = "torch._dynamo", "torch._dynamo.utils"
# what the stand-ins answer for: the file that defines it, and the words that do
_ANSWERED = {"__init__.py": '"disable",', "utils.py": "def is_compile_supported("}


class _StandIn(ModuleType):
    """A module that is imported when something unexpected is read from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks for
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def zoo() -> ModuleType:
    """Import timm, without the compiler where that is safe.

    Source: Wightman, "PyTorch Image Models", 2019.

    >>> "mobilenetv2_100" in zoo().list_models()
    True
    """
    if "timm" in sys.modules or COMPILER in sys.modules or obstacle():
        return importlib.import_module("timm")
    try:
        with _stand_ins():
            return importlib.import_module("timm")
    except Exception:  # theirs, or timm's own, which then comes again
        for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
            del sys.modules[name]
        return importlib.import_module("timm")


def obstacle() -> str:
    """Say why timm is imported with the compiler after all, "" where it is not.

    >>> obstacle()
    ''
    """
    torch = importlib.util.find_spec("torch")
    folder = Path(torch.origin if torch and torch.origin else "").parent / "_dynamo"
    for file, words in _ANSWERED.items():
        try:
            text = (folder / file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return f"torch has no _dynamo/{file}"
        if words not in text:
            return f"torch's _dynamo/{file} has no {words.strip('(,')}"
    return ""


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    compiler, utils = _StandIn(COMPILER), _StandIn(ITS_UTILS)
    vars(compiler)["__path__"] = []  # a package
    vars(compiler)["disable"] = _disable
    vars(utils)["is_compile_supported"] = _is_compile_supported
    sys.modules |= {COMPILER: compiler, ITS_UTILS: utils}
    try:
        yield
    finally:
        _dismiss()


def _disable(function: Callable, *options, **more) -> Callable:
    @functools.wraps(function)
    def undisturbed(*inputs, **named):
        return _real(COMPILER).disable(function, *options, **more)(*inputs, **named)

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
