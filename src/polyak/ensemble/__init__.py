"""MODEL ENSEMBLES: averaged predictions, chosen members, averaged weights."""

from polyak.ensemble.combine import combine, disagreement, tempered
from polyak.ensemble.select import greedy, nll
from polyak.ensemble.soups import basin, greedy_soup, soup

__all__ = [
    "basin",
    "combine",
    "disagreement",
    "greedy",
    "greedy_soup",
    "nll",
    "soup",
    "tempered",
]
