"""MODEL ENSEMBLES: snapshots, chosen and averaged members, averaged weights, distillation.

Functions and small objects for any training loop in PyTorch; arrays and tensors in, the same out.
"""

from polyak.ensemble.combine import CalibratedMean, combine, disagreement, tempered
from polyak.ensemble.distillation import distillation_loss
from polyak.ensemble.network import Ensemble
from polyak.ensemble.select import greedy
from polyak.ensemble.snapshots import Snapshot, Snapshots
from polyak.ensemble.soups import basin, greedy_soup, soup
from polyak.ensemble.states import State, copied, refreshed
from polyak.ensemble.trunk import Trunk

__all__ = [
    "CalibratedMean",
    "Ensemble",
    "Snapshot",
    "Snapshots",
    "State",
    "Trunk",
    "basin",
    "combine",
    "copied",
    "disagreement",
    "distillation_loss",
    "greedy",
    "greedy_soup",
    "refreshed",
    "soup",
    "tempered",
]
