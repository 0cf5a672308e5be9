import pytest

from polyak.errors import RefusedError, UsageError
from polyak.networks.build import build
from polyak.networks.preprocessing import preprocessing


def test_timm_says_what_its_weights_want():
    got = preprocessing(build("mobilenetv2_100", 3))
    assert got == ((224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875, 16)


def test_the_file_goes_before_timm_and_the_user_before_both():
    network = build("mobilenetv2_100", 3)
    metadata = {"mean": "[0.5, 0.5, 0.5]", "std": "0.5", "format": "pt", "size": "[192, 160]"}
    assert preprocessing(network, metadata) == ((192, 160), (0.5,) * 3, (0.5,) * 3, 0.875, 16)
    got = preprocessing(network, metadata, size=128, std=0.25, fraction=1)
    assert got == ((128, 128), (0.5,) * 3, (0.25,) * 3, 1.0, 16)


@pytest.mark.parametrize(
    "text", ["", "[0.5", "[1,2]", '"a"', "NaN", "[0.5, 0.5, true]", "[" * 9999]
)
def test_damaged_metadata_is_refused(text):
    with pytest.raises(RefusedError, match="mean"):
        preprocessing(build("compact", 2), {"mean": text})


@pytest.mark.parametrize(
    "override",
    [{"std": 0}, {"std": (0.5, 0.5)}, {"size": 0}, {"fraction": 1.5}, {"mean": "x"}, {"crop": 1}],
)
def test_overrides_are_checked(override):
    with pytest.raises(UsageError, match=next(iter(override))):
        preprocessing(build("compact", 2), **override)
