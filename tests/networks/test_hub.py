"""timm's own weights: one line within seconds where no network answers, and none where they lie."""

import http.server
import logging
import socket
import threading
import time

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from polyak import cli
from polyak.errors import UsageError
from polyak.networks import build, hub
from polyak.networks.head import head_names
from typed import one_line

NAME, REPOSITORY = "resnet10t", "models--timm--resnet10t.c3_in1k"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """No weights on this machine."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture
def offline(monkeypatch):
    """No name is known to anybody, as on a train; how often it was asked for."""
    asked = []

    def unknown(*where, **_):
        asked.append(where[0])
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    return asked


@pytest.fixture
def server():
    """A web server that knows no page."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/none"
        serving.shutdown()


def test_any_answer_is_an_answer(server):
    assert hub.answers(server)
    assert not hub.answers("no address")


def test_a_name_that_nobody_knows_is_no_answer(offline):
    assert not hub.answers("https://huggingface.co") and offline


def test_silence_is_not_waited_for():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert not hub.answers(f"http://127.0.0.1:{silent.getsockname()[1]}", patience=0.2)
        assert time.monotonic() - began < 2


def test_a_name_server_that_says_nothing_is_not_waited_for(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(20) and [])
    began = time.monotonic()
    assert not hub.answers("https://huggingface.co", patience=0.2)
    assert time.monotonic() - began < 2
    done.set()


@pytest.mark.parametrize(
    "typed",
    ["plan digits --weights hub", "plan digits --weights hub:mobilenetv2_100",
     "train digits --weights hub", "train digits --weights hub --model resnet10t --epochs 1"],
)  # fmt: skip
def test_without_a_network_one_line_is_said_before_any_image_is_opened(
    typed, empty, offline, capsys, monkeypatch
):
    monkeypatch.setattr("polyak.jobs.open.open_data", lambda *_: pytest.fail("opened"))
    assert cli.main([*typed.split(), "--threads", "1"]) == 64
    said = capsys.readouterr()
    assert "huggingface.co does not answer" in one_line(said.err.strip()) and not said.out
    assert len(offline) == 1  # the hub's own client would ask twelve times
    assert not list(empty.parent.iterdir())


def test_what_was_fetched_before_needs_no_network(empty, offline, caplog):
    torch.manual_seed(0)
    network = build(NAME, 1000)
    for folder in ("refs", "snapshots/abc"):
        (empty / REPOSITORY / folder).mkdir(parents=True)
    (empty / REPOSITORY / "refs/main").write_text("abc")
    save_file(network.state_dict(), empty / REPOSITORY / "snapshots/abc/model.safetensors")
    hub.check(NAME)
    with pytest.raises(UsageError, match="does not answer"):
        hub.check("resnet18")
    offline.clear()
    with caplog.at_level(logging.INFO):
        found = build(NAME, 3, hub=True)
    assert len(offline) == 1 and "Retrying" not in caplog.text
    assert constants.HF_HUB_OFFLINE is False and socket.getdefaulttimeout() is None
    before, heads = network.state_dict(), tuple(head_names(network))
    for name, value in found.state_dict().items():
        if not name.startswith(heads):
            assert torch.equal(value, before[name])


def test_who_asks_to_stay_offline_is_not_asked(empty, offline, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="not on this machine"):
        hub.check(NAME)
    assert not offline
