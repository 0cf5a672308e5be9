"""Which strategy of transfer: probes, short measured trials, a choice; and the range test."""

from polyak.planning.plan import PlanResult, plan

__all__ = ["PlanResult", "plan"]
