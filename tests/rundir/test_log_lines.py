"""What a record says to a person: nothing that nobody measured."""

import pytest

from polyak.rundir import log_lines
from polyak.rundir.events import EndEvent

END = {
    "chosen": "average", "evaluation": None, "temperature": 1.0, "candidates": {}, "left_out": 0,
    "confused": [], "seconds": 12.4, "wait_share": 0.25, "model": "runs/a/model.safetensors",
}  # fmt: skip


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        (0.0, "12 s"),  # a probe: one pass of features, no training
        (345.6, "12 s, 346 images/s in training, 25.0% of it waiting for data"),
    ],
)
def test_a_run_that_trained_nothing_tells_no_pace(pace, said):
    assert log_lines.lines(EndEvent(**END, images_per_second=pace))[0] == said
