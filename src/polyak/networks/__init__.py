"""Networks: polyak's own for small images, and every timm model by name."""

from polyak.networks.build import STAGES, build, from_spec, spec
from polyak.networks.compact import Compact
from polyak.networks.fold import folded
from polyak.networks.staged import Staged, backbone_of
from polyak.networks.stages import HEAD, stages, tapped
from polyak.networks.weights import Loaded, load_weights

__all__ = [
    "HEAD",
    "STAGES",
    "Compact",
    "Loaded",
    "Staged",
    "backbone_of",
    "build",
    "folded",
    "from_spec",
    "load_weights",
    "spec",
    "stages",
    "tapped",
]
