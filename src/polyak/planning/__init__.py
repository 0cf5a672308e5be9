"""Which strategy of transfer: probes, short measured trials, a choice; and the range test."""

from polyak.planning.plan import plan
from polyak.planning.result import PlanResult

__all__ = ["PlanResult", "plan"]
