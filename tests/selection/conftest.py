"""A pool of three networks that know nothing, and digits to measure them on."""

import pytest
import torch

from digit_networks import Part, member, network
from polyak.ensemble import copied
from polyak.selection import CandidatePool


@pytest.fixture(scope="session")
def parts() -> dict[str, Part]:
    return {"val": Part.of("train", 120), "test": Part.of("test", 60)}


@pytest.fixture
def batches():
    def made():
        torch.manual_seed(9)
        return [torch.randn(50, 3, 8, 8) for _ in range(3)]

    return made


@pytest.fixture
def pool(parts, batches) -> CandidatePool:
    """Weights a, b, c of one network."""
    made, shared = CandidatePool(parts, batches), member(0)
    for seed, name in enumerate("abc"):
        made.add(name, copied(network(seed)), shared)
    return made
