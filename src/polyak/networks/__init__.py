"""Networks: polyak's own for small pictures, and every timm model by name."""

from polyak.networks.build import build, from_spec, spec
from polyak.networks.compact import Compact
from polyak.networks.weights import Loaded, load_weights

__all__ = [
    "Compact",
    "Loaded",
    "build",
    "from_spec",
    "load_weights",
    "spec",
]
