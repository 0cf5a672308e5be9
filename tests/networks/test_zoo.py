"""timm without the compiler: it starts without it, and whatever wants it later finds it."""

import subprocess
import sys

import pytest

from polyak.networks import zoo

ROPE = """
rope = SimpleNamespace(depth=1, dim=2, num_heads=1, get_embed=lambda **how: [torch.ones(1, 1, 4)])
every = NaFlexRopeIterator(rope, {(1, 1): [0]}, [(1, 1)], 1, 1, torch.device("cpu"), torch.float32)
print([float(one.sum()) for one in every])
"""


def alone(code: str, before: str = "") -> str:
    """Run code in a process that has imported nothing but timm; what it prints."""
    begin = f"import sys\nfrom polyak.networks import zoo as room\n{before}\nzoo = room.zoo\nzoo()"
    code = f"{begin}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_timm_comes_without_the_compiler():
    network = "zoo().create_model('resnet10t', num_classes=2).num_classes"
    loaded = "[name for name in sys.modules if name.startswith('torch._dynamo')]"
    assert alone(f"print({network}, {loaded})") == "2 []"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        # torchvision asks the compiler when it pools a region on a GPU
        (
            "import torchvision\nasked = sys.modules['torchvision.ops.roi_align']\n"
            "print(asked.is_compile_supported('cpu'))",
            "True",
        ),
        # timm hides an iterator from it
        (
            "import torch\nfrom types import SimpleNamespace\n"
            f"from timm.models.naflexvit import NaFlexRopeIterator\n{ROPE}",
            "[4.0]",
        ),
        (
            "import torch\n"
            "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())",
            "2.0",
        ),
    ],
)
def test_who_wants_the_compiler_later_finds_it(wanted, says):
    assert alone(f"{wanted}\nassert 'torch._dynamo.utils' in sys.modules") == says


NETWORK = "print(zoo().create_model('resnet10t', num_classes=2).num_classes, room.obstacle())"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"utils.py": "def is_compile_possible("}, "torch's _dynamo/utils.py has no def is_com"),
        ({"moved.py": ""}, "torch has no _dynamo/moved.py"),
    ],
)
def test_a_torch_that_names_things_otherwise_is_seen(monkeypatch, asked, says):
    monkeypatch.setattr(zoo, "_ANSWERED", asked)
    assert zoo.obstacle().startswith(says)


def test_where_the_stand_ins_would_not_do_timm_comes_with_the_compiler():
    changed = "room.obstacle = lambda: 'moved'"
    assert alone(f"{NETWORK}\nassert 'torch._dynamo' in sys.modules", changed) == "2 moved"


def test_a_timm_that_stumbles_over_the_stand_ins_is_imported_without():
    broken = "def fails(*_, **__): raise TypeError('not like that')\nroom._disable = fails"
    assert alone(f"{NETWORK}\nassert 'torch._dynamo' in sys.modules", broken) == "2"
