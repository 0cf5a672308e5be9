"""timm's own weights over the network: whether there is one is found out first, in seconds."""

import contextlib
import logging
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from polyak.errors import UsageError
from polyak.networks.zoo import zoo

WORD, PREFIX = "hub", "hub:"  # what --weights says: the hub, or the hub and a model of it
PATIENCE = 2.5  # seconds for a first answer; the hub's own client retries for a minute
_FILES = ("model.safetensors", "pytorch_model.bin")


def meant(weights: str | None) -> bool:
    """Tell whether `--weights` means the hub: as "hub", or as "hub:NAME" with a model of it.

    >>> meant("hub"), meant("hub:resnet18.a1_in1k"), meant("hub.safetensors"), meant(None)
    (True, True, False, False)
    """
    return weights is not None and (weights == WORD or weights.startswith(PREFIX))


def model_of(weights: str | None) -> str | None:
    """Read the model that `--weights hub:NAME` names; None where it names none.

    >>> model_of("hub:resnet18.a1_in1k"), model_of("hub")
    ('resnet18.a1_in1k', None)
    """
    return (weights or "").removeprefix(PREFIX) if (weights or "").startswith(PREFIX) else None


def kept(name: str) -> bool:
    """Tell whether a model's weights lie on this machine, fetched before; never asks the network.

    >>> kept("compact")
    False
    """
    timm = zoo()
    known = name in timm.list_models() or name in timm.list_pretrained()
    return known and timm.get_pretrained_cfg(name) is not None and _kept(name)


def answers(address: str, patience: float = PATIENCE) -> bool:
    """Tell whether anything at all answers at a web address within some seconds.

    >>> answers("http://127.0.0.1:9")  # the port that discards
    False
    """
    found = []

    def ask():
        try:
            request = urllib.request.Request(address, method="HEAD")
            urllib.request.urlopen(request, timeout=patience).close()
        except urllib.error.HTTPError:
            pass  # no, but an answer
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):
                return
        except (OSError, ValueError):
            return
        found.append(True)

    # looking a name up knows no timeout: the thread is left behind
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return bool(found)


def check(name: str) -> None:
    """Refuse at once a model whose weights are neither on this machine nor to be fetched.

    Raises:
        UsageError: the hub does not answer.
    """
    if not _online() and not _kept(name):
        raise refused(name, f"{_host()} does not answer, and they are not on this machine")


@contextlib.contextmanager
def fetching() -> Iterator[None]:
    """Let the hub's client fetch quietly, or look only into its folder where nothing answers."""
    from huggingface_hub import constants

    log, offline, timeout = _log(), constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    level = log.level
    log.setLevel(logging.ERROR)  # its retries
    if not _online():
        constants.HF_HUB_OFFLINE = True
        socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        log.setLevel(level)
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(timeout)


def refused(name: str, why: str) -> UsageError:
    """Say that a model's weights cannot be had.

    >>> print(refused("resnet18", "huggingface.co does not answer"))
    cannot fetch the weights: resnet18: huggingface.co does not answer. Next: connect to the \
network, or name a file on this machine: --weights FILE
    """
    then = "connect to the network, or name a file on this machine: --weights FILE"
    return UsageError("cannot fetch the weights", where=name, why=why, then=then)


def _online() -> bool:
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT)


def _host() -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT


def _log() -> logging.Logger:
    return logging.getLogger("huggingface_hub")


def _kept(name: str) -> bool:
    """Tell whether a model's weights were fetched before."""
    import torch
    from huggingface_hub import try_to_load_from_cache

    config: Any = zoo().get_pretrained_cfg(name)
    if config is None:
        return True  # there is no such model, or it has no weights: building it says so
    if config.hf_hub_id:
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
        found = (try_to_load_from_cache(config.hf_hub_id, file) for file in names)
        return any(isinstance(file, str) for file in found)
    file = Path(urlsplit(config.url or "").path).name
    return not file or (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file()
