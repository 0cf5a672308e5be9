import json

import pytest
import torch

from polyak.errors import RefusedError, UsageError
from polyak.networks.build import build, from_spec, spec


def test_compact_and_timm_share_one_door():
    assert build("compact", 3, size=(16, 16), widths=(8,))(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    assert build("resnet10t", 7).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 7)
    assert build("vit_tiny_patch16_224", 2, img_size=32)(torch.rand(1, 3, 32, 32)).shape == (1, 2)


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(UsageError, match=r"resnt18.*did you mean resnet18"):
        build("resnt18", 10)
    with pytest.raises(UsageError, match="compact"):
        build("compcat", 10)


@pytest.mark.parametrize(
    "name", ["hf-hub:some/model", "local-dir:/tmp", "", "../resnet18", "resnet18.qzxw"]
)
def test_only_names_on_the_list_are_followed(name):
    with pytest.raises(UsageError, match="unknown model"):
        build(name, 10)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("compact", {"width": 3}, "compact.width"),
        ("compact", {"size": (4, 4)}, "at least 8"),
        ("compact", {"size": 3}, "cannot build"),
        ("compact", {"hub": True}, "from scratch"),
        ("resnet10t", {"checkpoint_path": "/etc/passwd"}, "unknown network option"),
        ("resnet10t", {"pretrained_cfg": {}}, "unknown network option"),
        ("resnet10t", {"img_size": 32}, "img_size"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(UsageError, match=message):
        build(name, 10, **options)


@pytest.mark.parametrize("classes", [1, 0, -3, 2.5, True, "10", 10**12])
def test_classes_are_counted(classes):
    with pytest.raises(UsageError, match="cannot build"):
        build("compact", classes)


def test_no_network_is_one_line(monkeypatch):
    import timm

    def offline(*_, **__):
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UsageError, match=r"cannot fetch.*no route to host\. Next: connect"):
        build("resnet10t", 10, hub=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("compact", {"size": (16, 24), "widths": (8, 12)}),
        ("vit_tiny_patch16_224", {"img_size": (32, 48), "drop_rate": 0.1}),
    ],
)
def test_a_description_rebuilds_the_network(name, options):
    torch.manual_seed(0)
    first = build(name, 3, **options)
    text = json.dumps(spec(name, 3, **options))
    torch.manual_seed(0)
    second = from_spec(json.loads(text))
    assert type(first) is type(second)
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize(
    "description",
    [
        {},
        [],
        None,
        {"name": "compact", "classes": 2},
        {"name": "os.system", "classes": 2, "options": {}},
        {"name": "hf-hub:a/b", "classes": 2, "options": {}},
        {"name": "compact", "classes": 2, "options": {"hub": True}},
        {"name": "resnet10t", "classes": 2, "options": {"hub": True}},
        {"name": "resnet10t", "classes": 2, "options": {"checkpoint_path": "x.pth"}},
        {"name": "compact", "classes": "2", "options": {}},
        {"name": "compact", "classes": 2, "options": {"size": "large"}},
        {"name": "compact", "classes": 2, "options": {"widths": [10**9]}},
        {"name": "compact", "classes": 2, "options": {}, "import": "os"},
        {"name": 5, "classes": 2, "options": {}},
    ],
)
def test_a_strange_description_is_refused_with_76(description):
    with pytest.raises(RefusedError) as refusal:
        from_spec(description)
    assert refusal.value.exit_code == 76
    assert "\n" not in str(refusal.value)


def test_a_description_reaches_no_hub(monkeypatch):
    import timm

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was asked"))
    with pytest.raises(RefusedError, match=r"resnet10t\.hub"):
        from_spec({"name": "resnet10t", "classes": 2, "options": {"hub": True}})
