"""Every rule on every engine against the eager one in double precision."""

import os
import threading
import warnings
from types import SimpleNamespace

import pytest
import torch

from polyak.optim import engine, rules, threads
from polyak.optim.engine import Pass
from polyak.optim.norm import norm
from polyak.optim.translate import signature

HYPER = {
    "learning_rate": 0.1, "t": 3.0, "rho": 0.9, "decay_rate": 0.99, "eps": 1e-7,
    "beta1": 0.9, "beta2": 0.999, "mu": 0.45, "mu_next": 0.46, "mu_product": 0.09, "decay": 0.9,
}  # fmt: skip
RULES = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam", "lion", "polyak"]
SIZES = [(), (0,), (1,), (7,), (1023,), (3, 2, 5, 5)]
TOLERANCE = {
    torch.float32: (3e-5, 3e-6),
    torch.float64: (1e-12, 1e-13),
    torch.bfloat16: (0.01, 0.01),
}


def columns_of(rule, dtype, averages=2, sizes=SIZES):
    """Random x, dx, state and averages; the last three places are channels_last and strided."""
    generator = torch.Generator().manual_seed(7)
    states = len(signature(rule).state)
    wide = engine.wide_dtype(dtype)
    kinds = [dtype, dtype, *[wide] * (states + averages)]
    columns = [[torch.randn(s, generator=generator).to(kind) for s in sizes] for kind in kinds]
    for k, column in enumerate(columns):
        turned, base = torch.randn(2, 4, 6, generator=generator).to(kinds[k])
        image = torch.randn(2, 3, 4, 4, generator=generator).to(kinds[k])
        column.append(image.to(memory_format=torch.channels_last))
        column.append(turned.t())
        column.append(base[:, ::2] if k else base[:, :3])  # x is strided, the others differently
    if states:
        columns[2 + states - 1] = [abs(t) for t in columns[2 + states - 1]]  # squares
    return columns


def work_of(rule, decays=(0.9, 0.5)):
    hyper = {name: HYPER[name] for name in signature(rule).hyper}
    return Pass(rule, hyper, scale=0.5, l2=0.01, shrink=0.99, decays=decays)


def copied(columns, dtype=None):
    return [[t.clone().to(dtype or t.dtype) for t in column] for column in columns]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ["eager", "numba", "together"])
def test_engines_agree_with_double_precision(name, dtype, kind):
    rule = getattr(rules, name)
    columns = columns_of(rule, dtype)
    exact = copied(columns, torch.float64)
    engine.apply(work_of(rule), exact, engine="eager")
    engine.apply(work_of(rule), columns, engine=kind)
    rtol, atol = TOLERANCE[dtype]
    for column, expected in zip(columns[:1] + columns[2:], exact[:1] + exact[2:], strict=True):
        for a, b in zip(column, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=rtol, atol=atol)


def by_a_method(x, dx, seen, learning_rate):
    return x - learning_rate * dx.sign(), seen + 1


def forgetful(x, dx, seen, learning_rate):
    return x - learning_rate * dx * seen, x.new_zeros(()) if hasattr(x, "new_zeros") else 0.0


@pytest.mark.parametrize("rule", [by_a_method, forgetful])
def test_a_rule_that_is_no_plain_arithmetic_goes_one_by_one(rule):
    x, dx = [torch.ones(2), torch.ones(1)], [torch.tensor([3.0, -2.0]), torch.zeros(1)]
    seen = [torch.ones(2), torch.ones(1)]
    engine.apply(Pass(rule, {"learning_rate": 0.5}), [x, dx, seen], engine="together")
    expected = {by_a_method: ([0.5, 1.5], [2.0, 2.0]), forgetful: ([-0.5, 2.0], [0.0, 0.0])}[rule]
    assert (x[0].tolist(), seen[0].tolist()) == expected


def test_portions_step_each_weight_once(monkeypatch):
    monkeypatch.setattr(engine, "AT_ONCE", 10)
    whole = columns_of(rules.adam, torch.float32)
    parts = copied(whole)
    assert len(list(engine._portions(parts))) > 3
    engine.apply(work_of(rules.adam), parts, engine="together")
    monkeypatch.setattr(engine, "AT_ONCE", 1 << 26)
    engine.apply(work_of(rules.adam), whole, engine="together")
    for column, expected in zip(parts, whole, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(column, expected, strict=True))


def test_threads_do_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(threads, "STRETCH", 1000)
    many, one = (
        columns_of(rules.adam, torch.float32, sizes=[(5000,), (3,), (7001,)]) for _ in "ab"
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        engine.apply(work_of(rules.adam), many)
        long = norm(many[1])
        torch.set_num_threads(1)
        engine.apply(work_of(rules.adam), one)
        assert norm(one[1]) == long
    finally:
        torch.set_num_threads(before)
    for a, b in zip(many, one, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_every_thread_gets_its_stretch(monkeypatch):
    monkeypatch.setattr(threads, "STRETCH", 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert threads.spread(lambda begin, end: (begin, end), 40) == [
        (0, 10),
        (10, 20),
        (20, 30),
        (30, 40),
    ]
    assert threads.spread(lambda begin, end: (begin, end), 25) == [(0, 12), (12, 25)]


TEAM = pytest.param("_team", marks=pytest.mark.skipif(not threads._team(), reason="no OpenMP"))


@pytest.mark.parametrize("way", [TEAM, "_pooled"])
def test_two_ways_to_the_threads(monkeypatch, way):
    monkeypatch.setattr(threads, "STRETCH", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(threads, "_forked", way == "_pooled")
    meet = threading.Barrier(2, timeout=20)

    def stretch(begin, end):
        if begin < 2 and total == 2:
            meet.wait()  # comes back only where two threads are at work at once
        return threading.get_ident(), begin, end

    total = 2
    found = threads.spread(stretch, total)
    assert {one[0] for one in found} >= {threading.get_ident()}
    assert len({one[0] for one in found}) == 2
    total = 100
    assert sum(end - begin for _, begin, end in threads.spread(stretch, total)) == total

    def fails(begin, end):
        raise IndexError(begin)

    with pytest.raises(IndexError):
        threads.spread(fails, 100)


class Parallel:
    """An OpenMP whose team calls so many times."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, work, data, count, flags):
        for _ in range(self.calls):
            work(data)


@pytest.mark.parametrize("calls", [0, 3])
def test_a_team_that_does_not_do_its_work_is_not_used(monkeypatch, calls):
    library = SimpleNamespace(GOMP_parallel=Parallel(calls))
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    monkeypatch.setattr(threads, "STRETCH", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    threads._found.cache_clear()
    try:
        assert threads._team() is None
        assert f"called {calls} times" in threads.obstacle()
        assert threads.spread(lambda begin, end: end, 2) == [1, 2]
    finally:
        threads._found.cache_clear()


def test_a_torch_without_openmp_is_told(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace())
    threads._found.cache_clear()
    try:
        assert threads._team() is None and "GOMP_parallel" in threads.obstacle()
    finally:
        threads._found.cache_clear()


def test_what_a_team_leaves_is_done_all_the_same(monkeypatch):
    monkeypatch.setattr(threads, "STRETCH", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(threads, "_team", lambda: lambda work, count: None)
    assert threads.spread(lambda begin, end: end, 8) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_again(monkeypatch):
    monkeypatch.setattr(threads, "STRETCH", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    threads.spread(lambda begin, end: 0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads is the point
        child = os.fork()
    if child == 0:
        os._exit(0 if threads.spread(lambda begin, end: end, 2) == [1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_norm_is_the_length_of_all_gradients():
    gradients = [torch.tensor([2.0, 3.0]), torch.tensor([[6.0]]), torch.zeros(0)]
    assert norm(gradients) == 7.0
    assert norm([torch.full((2,), 1e30)]) == pytest.approx(2**0.5 * 1e30)
    assert norm([torch.tensor([float("nan")])]) != norm([torch.zeros(1)])
    assert norm([torch.full((3, 3), 2.0)[:, :1], torch.ones(4, dtype=torch.bfloat16)]) == 4.0


def four_states(x, dx, a, b, c, d, learning_rate):
    return x - learning_rate * dx, a + 1, b + 2, c + 3, d + 4


def test_a_rule_that_cannot_be_compiled_says_so_and_runs():
    columns = [[torch.zeros(2)] for _ in range(6)]
    columns[1][0] += 1
    with pytest.warns(UserWarning, match="four_states runs uncompiled"):
        engine.apply(Pass(four_states, {"learning_rate": 0.5}), columns)
    assert [column[0][0].item() for column in columns] == [-0.5, 1, 1, 2, 3, 4]


def test_moved_tensors_are_seen():
    """The memo of addresses must not outlive the memory it names."""
    memo = {}
    x, dx = torch.ones(3), torch.ones(3)
    work = Pass(rules.sgd, {"learning_rate": 0.5})
    engine.apply(work, [[x], [dx]], memo)
    assert memo
    engine.apply(work, [[x], [torch.ones(6)[::2]]], memo)
    other = torch.ones(3)
    engine.apply(work, [[other], [dx]], memo)
    assert (x.tolist(), other.tolist()) == ([0.0] * 3, [0.5] * 3)


def test_not_a_number_stays_visible():
    x, dx, first, second = columns = [[torch.zeros(40)] for _ in range(4)]
    dx[0].fill_(float("nan"))
    engine.apply(work_of(rules.adam, decays=[]), columns)
    assert all(column[0].isnan().all() for column in (x, first, second))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", RULES)
def test_a_gpu_agrees_with_double_precision(name):
    rule = getattr(rules, name)
    columns = columns_of(rule, torch.float32)
    exact = copied(columns, torch.float64)
    engine.apply(work_of(rule), exact, engine="eager")
    there = [[t.cuda() for t in column] for column in columns]
    engine.apply(work_of(rule), there)
    for column, expected in zip(there[:1] + there[2:], exact[:1] + exact[2:], strict=True):
        for a, b in zip(column, expected, strict=True):
            torch.testing.assert_close(a.double().cpu(), b, rtol=3e-5, atol=3e-6)
