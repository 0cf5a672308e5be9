"""Averages against hand-made means, torch's AveragedModel, and themselves after a stop."""

import copy
import pickle

import pytest
import torch
from torch import nn

from polyak.errors import RefusedError, UsageError
from polyak.optim import SGD, Adam, Average, Momentum


def model_of(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)).to(dtype)


def steps(model, optimizer, n, after=lambda: None, first=0):
    for step in range(first, first + n):
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        x = torch.randn(8, 4, generator=generator, dtype=torch.float32)
        model(x.to(model[0].weight.dtype)).square().mean().backward()
        optimizer.step()
        after()


def test_uniform_is_the_mean_of_what_was_seen():
    model = model_of(torch.float64)
    average, seen = Average(model, uniform=True, start=3), []

    def after():
        average.update(model)
        seen.append(model[0].weight.detach().clone())

    steps(model, torch.optim.SGD(model.parameters(), lr=0.1), 10, after)
    expected = torch.stack(seen[3:]).mean(0)
    torch.testing.assert_close(average.x_test["0.weight"], expected, rtol=1e-12, atol=1e-14)


def test_exponential_is_torchs():
    model = model_of(torch.float64)
    average = Average(model, decay=0.9, warm_up=False)
    theirs = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    theirs.update_parameters(model)  # torch's first update only copies

    def after():
        average.update(model)
        theirs.update_parameters(model)

    steps(model, torch.optim.SGD(model.parameters(), lr=0.1), 10, after)
    for (_, a), b in zip(theirs.module.named_parameters(), average.x_test.values(), strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [{"half_life": 4}, {"decay": 0.9}, {"uniform": True, "start": 2}])
def test_riding_in_the_step_is_updating_after_it(kind):
    a, b = model_of(), model_of()
    for model in (a, b):
        model[1].bias.requires_grad_(False)  # not stepped, but averaged
    riding, after = Average(a, **kind), Average(b, **kind)
    steps(a, Adam(a.parameters(), lr=0.01, averages=[riding]), 9)
    steps(b, Adam(b.parameters(), lr=0.01), 9, lambda: after.update(b))
    assert riding.count == after.count == 9
    for name, x_test in riding.x_test.items():
        assert torch.equal(x_test, after.x_test[name]), name


def test_several_horizons_ride_together():
    model, alone = model_of(), model_of()
    averages = [Average(model, half_life=h, warm_up=False) for h in (1, 8)]
    one = Average(alone, half_life=8, warm_up=False)
    steps(model, SGD(model.parameters(), lr=0.1, averages=averages), 6)
    steps(alone, SGD(alone.parameters(), lr=0.1, averages=[one]), 6)
    assert all(torch.equal(x, one.x_test[name]) for name, x in averages[1].x_test.items())
    assert not torch.equal(averages[0].x_test["0.weight"], averages[1].x_test["0.weight"])


def test_half_life_is_a_half_life():
    average = Average(nn.Linear(1, 1), half_life=3, warm_up=False)
    product = 1.0
    for _ in range(3):
        product *= average.advance()
    assert product == pytest.approx(0.5)


def test_a_short_run_forgets_its_first_weights():
    model = nn.Linear(1, 1)
    kept = {}
    for warm_up in (True, False):
        nn.init.constant_(model.weight, 100.0)
        average = Average(model, decay=0.999, warm_up=warm_up)
        nn.init.constant_(model.weight, 0.0)
        for _ in range(100):
            average.update(model)
        kept[warm_up] = average.x_test["weight"].item()
    assert kept[True] < 1e-6
    assert kept[False] > 90


@pytest.mark.parametrize("riding", [True, False])
def test_resume_is_exact(riding):
    def run(model, average, optimizer, n, first=0):
        after = (lambda: None) if riding else (lambda: average.update(model))
        steps(model, optimizer, n, after, first)

    def fresh(model):
        average = Average(model, half_life=5)
        averages = [average] if riding else []
        return model, average, Momentum(model.parameters(), lr=0.05, averages=averages)

    whole = fresh(model_of(torch.bfloat16))
    run(*whole, 9)
    first = fresh(model_of(torch.bfloat16))
    run(*first, 4)
    saved = copy.deepcopy([part.state_dict() for part in first])
    second = fresh(model_of(torch.bfloat16))
    for part, state in zip(second, saved, strict=True):
        part.load_state_dict(state)
    run(*second, 5, first=4)
    assert second[1].count == 9
    for name, x_test in whole[1].x_test.items():
        assert x_test.dtype == torch.float32
        assert torch.equal(x_test, second[1].x_test[name])


def test_swapping_in_gives_the_average_and_takes_nothing():
    model = model_of()
    average = Average(model, uniform=True)
    steps(model, SGD(model.parameters(), lr=0.5, averages=[average]), 3)
    own = copy.deepcopy(model.state_dict())
    with pytest.raises(ZeroDivisionError), average.swapped_in(model):
        assert torch.equal(model[0].weight, average.x_test["0.weight"])
        raise ZeroDivisionError
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_before_its_start_the_average_is_the_model():
    model = model_of()
    average = Average(model, uniform=True, start=5)
    steps(model, SGD(model.parameters(), lr=0.5, averages=[average]), 2)
    own = model[0].weight.detach().clone()
    with average.swapped_in(model):
        assert torch.equal(model[0].weight, own)


def test_wrapped_models_have_the_same_names():
    model = model_of()
    average = Average(model, decay=0.5)
    average.update(nn.ModuleDict({"module": model}))
    assert average.count == 1


def test_what_does_not_fit_is_refused():
    model = model_of()
    average = Average(model, decay=0.5)
    with pytest.raises(UsageError, match="one of decay"):
        Average(model, decay=0.5, half_life=3)
    for bad in ({"decay": 1.0}, {"half_life": 0}, {"decay": -0.1}):
        with pytest.raises(UsageError):
            Average(model, **bad)
    with pytest.raises(UsageError, match="parameters are not the average's"):
        average.update(nn.Linear(1, 1))
    with pytest.raises(RefusedError, match="other parameters"):
        average.load_state_dict(Average(nn.Linear(1, 1), decay=0.5).state_dict())
    with pytest.raises(RefusedError, match="settings"):
        average.load_state_dict(Average(model, decay=0.25).state_dict())
    stranger = nn.Parameter(torch.ones(1))
    stranger.grad = torch.ones(1)
    with pytest.raises(UsageError, match="does not know"):
        SGD([stranger], lr=0.1, averages=[average]).step()


def test_a_deep_copied_optimizer_averages_the_copy():
    model = model_of()
    average = Average(model, decay=0.5)
    optimizer = SGD(model.parameters(), lr=0.5, averages=[average])
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    steps(twin, twin_optimizer, 2)
    assert average.count == 0
    assert twin_optimizer.averages[0].count == 2
    assert not torch.equal(
        twin_optimizer.averages[0].x_test["0.weight"], average.x_test["0.weight"]
    )


def other_widths(rows):
    """`model_of` with other rows in its last layer."""
    model = model_of()
    model[1].weight.data = torch.full((rows, 5), 7.0)
    return model


@pytest.mark.parametrize("rows", [1, 3, 0])
@pytest.mark.parametrize("use", ["update", "copy_to", "swapped_in"])
def test_a_model_of_other_widths_is_refused(use, rows):
    model, other = model_of(), other_widths(rows)
    average = Average(model, decay=0.5)
    steps(model, SGD(model.parameters(), lr=0.5), 3, lambda: average.update(model))
    tests, own = copy.deepcopy((average.state_dict(), other.state_dict()))
    with pytest.raises(RuntimeError, match=rf"1\.weight: shape \({rows}, 5\) beside \(2, 5\)"):
        if use == "swapped_in":
            with average.swapped_in(other):
                raise AssertionError("it was let in")
        getattr(average, use)(other)
    assert average.count == tests["count"]
    for name, x_test in average.x_test.items():
        assert torch.equal(x_test, tests["x_test"][name]), name
    assert all(torch.equal(value, own[name]) for name, value in other.state_dict().items())


def averaged():
    """A model with batch norm, and its average after three updates."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    average = Average(model, uniform=True)
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(model[0].weight, value)
        average.update(model)
    return model, average


def unchanged(model, own):
    now = model.state_dict()
    return now.keys() == own.keys() and all(torch.equal(now[k], own[k]) for k in own)


def failing():
    yield torch.randn(8, 4)
    raise OSError("the disk is gone")


@pytest.mark.parametrize("batches", [failing(), [torch.ones(2, 3)], []])
def test_what_fails_on_entering_leaves_the_model_as_it_was(batches):
    model, average = averaged()
    own = copy.deepcopy(model.state_dict())
    with pytest.raises((OSError, RuntimeError, UsageError)), average.swapped_in(model, batches):
        raise AssertionError("it was let in")
    assert unchanged(model, own)


def test_an_expanded_parameter_is_not_half_written():
    model, average = averaged()
    model[2].bias.data = torch.ones(1).expand(2)
    own = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match=r"2\.bias: expanded"), average.swapped_in(model):
        raise AssertionError("it was let in")
    assert unchanged(model, own)


def grown(model):
    model[0].weight.data = torch.zeros(9, 4)
    model[1].running_mean.data = torch.zeros(9)


def replaced(model):
    model[0].weight = nn.Parameter(torch.zeros(1, 4))
    model[1].running_mean = torch.zeros(1)


def halved(model):
    model.half()


def expanded(model):
    model[0].weight.data = torch.zeros(1, 4).expand(5, 4)


@pytest.mark.parametrize("change", [grown, replaced, halved, expanded])
def test_weights_come_back_whatever_was_done_to_the_model_meanwhile(change):
    model, average = averaged()
    own = copy.deepcopy(model.state_dict())
    with average.swapped_in(model, [torch.randn(8, 4)]):
        change(model)
    assert unchanged(model, own)


def test_a_layer_that_is_lost_meanwhile_is_told_and_the_others_come_back():
    model, average = averaged()
    own = copy.deepcopy(model.state_dict())
    with pytest.raises(UsageError, match=r"lost a parameter.*2\.bias"), average.swapped_in(model):
        model[2].bias = None
    del own["2.bias"]
    assert unchanged(model, own)


@pytest.mark.parametrize("odd", [torch.ones(1, 4), torch.ones(7, 4), torch.tensor(1.0), None])
def test_a_saved_average_of_another_shape_is_refused(odd):
    model = model_of()
    average = Average(model, decay=0.5)
    saved = copy.deepcopy(average.state_dict())
    saved["x_test"]["0.bias"] += 1
    saved["x_test"]["1.weight"] = odd
    with pytest.raises(RefusedError, match=r"1\.weight: shape .* beside \(2, 5\)"):
        average.load_state_dict(saved)
    assert torch.equal(average.x_test["0.bias"], model[0].bias)


def test_a_saved_count_that_cannot_be_is_refused():
    average = Average(model_of(), decay=0.5)
    with pytest.raises(RefusedError, match="-3 updates"):
        average.load_state_dict({**average.state_dict(), "count": -3})


@pytest.mark.parametrize("way", [pickle.dumps, lambda both: pickle.dumps(both, 2)])
def test_a_pickled_optimizer_goes_on_with_its_average(way):
    model = model_of()
    model[1].bias.requires_grad_(False)
    average = Average(model, half_life=3)
    optimizer = Adam(model.parameters(), lr=0.1, averages=[average])
    steps(model, optimizer, 3)
    twin, twin_optimizer = pickle.loads(way((model, optimizer)))
    steps(model, optimizer, 3, first=3)
    steps(twin, twin_optimizer, 3, first=3)
    [again] = twin_optimizer.averages
    assert again.count == 6
    for name, x_test in average.x_test.items():
        assert torch.equal(x_test, again.x_test[name]), name
    again.update(twin)
    assert again.name_of(twin[0].weight) == "0.weight"


def test_a_pickled_average_goes_on():
    model = model_of()
    average = Average(model, decay=0.5)
    again = pickle.loads(pickle.dumps(average))
    nn.init.constant_(model[0].weight, 3.0)
    average.update(model)
    again.update(model)
    assert torch.equal(again.x_test["0.weight"], average.x_test["0.weight"])
