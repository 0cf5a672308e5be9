"""How large images are decoded: known before anything is resolved, from the recipe and headers."""

from polyak.data.dataset import Dataset
from polyak.decoding.decode import LEAST_SIDE, min_size_for
from polyak.model import source
from polyak.networks.build import pretrained_config
from polyak.networks.compact import Compact
from polyak.networks.preprocessing import preprocessing
from polyak.networks.weights import metadata_of
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import model_of, scratch_size


def decode_size(recipe: Recipe, dataset: Dataset) -> tuple[int, int] | None:
    """Say how far large JPEGs may be shrunk while they are decoded; None where none is large.

    Args:
        recipe: what was asked.
        dataset: the scanned images.

    Returns:
        (height, width), pixels.
    """
    if not (dataset.sizes.min(1) >= 2 * LEAST_SIDE - 1).any():
        return None
    model, _ = model_of(recipe, dataset.sizes)
    size = recipe.size
    if size is None and recipe.weights is None:
        size = scratch_size(model, dataset.sizes)
    if size:
        return min_size_for((size, size))
    if earlier := source.earlier(recipe.weights):
        return min_size_for(earlier.preprocessing.size)
    # weights know their size, and the images are needed before the network that they start
    known = Compact(2) if model == "compact" else pretrained_config(model)
    metadata = metadata_of(str(recipe.weights)) if source.of_file(recipe.weights) else None
    return min_size_for(preprocessing(known, metadata).size)
