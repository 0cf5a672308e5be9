"""Where starting weights come from: what a model file, its card and its report say of them."""

import re
from dataclasses import asdict, dataclass
from typing import Any

UNKNOWN = "unknown"
SCRATCH = "none"  # of an earlier model that began with random weights: no licence of others
_RESTRICTED = re.compile(r"(^|[^a-z])nc([^a-z]|$)|non-?commercial|research", re.IGNORECASE)
_FIELDS = {"name": 200, "source": 200, "sha256": 64, "licence": 64}  # most characters


@dataclass(frozen=True)
class Origin:
    """Say where starting weights come from, and what may be done with them.

    Args:
        name: of the weights: a model's, or a file's.
        source: who gave them: a package, a hub, an earlier run, a file.
        sha256: of their file; "" where there is none.
        licence: an SPDX identifier in lower case, or "unknown".

    >>> Origin("resnet18", "timm/resnet18.a1_in1k", "", "apache-2.0").caution()
    ''
    """

    name: str
    source: str
    sha256: str = ""
    licence: str = UNKNOWN

    @classmethod
    def read(cls, facts: Any) -> "Origin | None":
        """Read what a model file says, trusting nothing in it; None where it says nothing.

        >>> Origin.read({"name": "a", "source": "b", "licence": 3})
        Origin(name='a', source='b', sha256='', licence='unknown')
        """
        if not isinstance(facts, dict):
            return None
        texts = {k: v[:most] for k, most in _FIELDS.items() if isinstance(v := facts.get(k), str)}
        return cls(**texts) if {"name", "source"} <= texts.keys() else None

    def as_facts(self) -> dict[str, str]:
        """Give plain values by name."""
        return asdict(self)

    def caution(self) -> str:
        """Say in a line what to look out for before a model of these weights is passed on.

        >>> Origin("a", "b", licence="cc-by-nc-4.0").caution()
        'the weights of a are licensed cc-by-nc-4.0: a model made of them is not for commercial use'
        """
        if self.licence == UNKNOWN:
            return (
                f"the licence of {self.name} is not known: look where it came from before a model "
                "made of it is passed on"
            )
        if _RESTRICTED.search(self.licence):
            return (
                f"the weights of {self.name} are licensed {self.licence}: a model made of them is "
                "not for commercial use"
            )
        return ""


def origin_facts(*origins: Origin | None) -> dict[str, Any]:
    """Say which weights a model was made of: those of its own network, and more where there are.

    >>> origin_facts(None, None), list(origin_facts(Origin("a", "b"), Origin("c", "d")))
    ({}, ['weights', 'more_weights'])
    """
    first, *more = origins or (None,)
    found: dict[str, Any] = {"weights": first.as_facts()} if first else {}
    others = [one.as_facts() for one in more if one]
    return found | ({"more_weights": others} if others else {})
