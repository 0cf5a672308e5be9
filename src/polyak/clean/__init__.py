"""CLEAN DATA: labels that are probably wrong, copies, odd, dark, blurred and tiny images."""

from polyak.clean.findings import Findings
from polyak.clean.issues import Issue, ordered, write_issues
from polyak.clean.labels import label_errors, odd
from polyak.clean.quality import dark, measure, soft, tiny

__all__ = [
    "Findings",
    "Issue",
    "dark",
    "label_errors",
    "measure",
    "odd",
    "ordered",
    "soft",
    "tiny",
    "write_issues",
]
