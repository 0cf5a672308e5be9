"""OPTIMIZATION: every rule of the lecture once, at the speed of memory, drop-in for any PyTorch
program.

`rules` and `schedules` are plain arithmetic and import nothing; what needs torch is imported when
it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polyak.optim import rules, schedules

if TYPE_CHECKING:
    from polyak.optim.average import Average
    from polyak.optim.batch_norm import keep_shared, refresh_batch_norm
    from polyak.optim.muon import Muon
    from polyak.optim.nesterov import Nesterov
    from polyak.optim.optimizers import (
        SGD,
        AdaGrad,
        Adam,
        AdamW,
        Lion,
        Momentum,
        NAdam,
        RMSProp,
        optimizer_of,
    )
    from polyak.optim.rate_sweep import range_test
    from polyak.optim.scheduler import Scheduled

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Average",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "RMSProp",
    "Scheduled",
    "keep_shared",
    "optimizer_of",
    "range_test",
    "refresh_batch_norm",
    "rules",
    "schedules",
]

_HOME = {
    "Average": "average",
    "Muon": "muon",
    "Nesterov": "nesterov",
    "Scheduled": "scheduler",
    "keep_shared": "batch_norm",
    "range_test": "rate_sweep",
    "refresh_batch_norm": "batch_norm",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"polyak.optim.{_HOME.get(name, 'optimizers')}"), name)
