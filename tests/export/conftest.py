"""Model files to export."""

import pytest

from polyak.model import Classifier, save


@pytest.fixture
def written(tmp_path):
    """Write a classifier to a model file; give its path."""

    def write(one: Classifier, name="model.safetensors") -> str:
        save(tmp_path / name, {}, one, "members")
        return str(tmp_path / name)

    return write
