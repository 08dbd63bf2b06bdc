"""Fetch timm's pretrained weights, and say in words when there is no network."""

import socket
import urllib.parse
import urllib.request

import huggingface_hub
import timm
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import nn

from assets.errors import InputError
from assets.models.architectures import RECIPES


def pretrained(name: str, download: bool) -> nn.Module:
    """Build a timm model with its pretrained weights; InputError where they cannot be had.

    The network is asked for weights only with `download`, and only if they are not there already.
    """
    config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if config is None or not config.has_weights:
        raise InputError(f"timm has no pretrained weights for {name}: give --checkpoint FILE")
    file = downloaded(name)
    if file is not None:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file})
    if not download:
        raise InputError(
            f"the weights of {name} are not on this machine: ask for their download (--download), "
            "or give a file (--checkpoint FILE)"
        )
    if not _reachable():
        raise _offline(name)
    try:
        return timm.create_model(name, pretrained=True)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise _offline(name) from error


def downloaded(name: str) -> str | None:
    """Return the file in Hugging Face's cache that has a timm model's weights, if it is there."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm knows the architecture, and not the tag
        return None
    if config is None or not config.hf_hub_id:
        return None
    named = config.hf_hub_filename
    files = [named] if named else ["model.safetensors", "pytorch_model.bin"]
    found = [huggingface_hub.try_to_load_from_cache(config.hf_hub_id, file) for file in files]
    return next((path for path in found if isinstance(path, str)), None)


def _offline(name: str) -> InputError:
    remedy = f"give --checkpoint FILE, or use a bundled model: {', '.join(RECIPES)}"
    return InputError(f"the weights of {name} cannot be downloaded, there is no network: {remedy}")


def _reachable() -> bool:
    """Return whether the host's name resolves, which spares the hub's minute of retries.

    Behind a proxy only the proxy resolves names, so nothing can be told: True.
    """
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(constants.ENDPOINT).hostname, 443)
    except socket.gaierror:
        return False
    return True
