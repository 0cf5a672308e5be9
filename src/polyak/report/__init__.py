"""One page from a run directory, to open, mail and print; knows nothing of training."""

from polyak.report.compare import compare
from polyak.report.page import report
from polyak.report.planned import draw_plan

__all__ = ["compare", "draw_plan", "report"]
