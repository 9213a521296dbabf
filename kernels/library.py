"""The compiled CPU kernels: one shared library built with the package where there was a C++ compiler."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

import torch  # before the library: both then use torch's OpenMP runtime, not two pools that spin against each other

log = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """None, with the reason logged once, where the package was installed without a compiler."""
    paths = sorted(Path(__file__).parent.glob("native/_native*.so"))
    if not paths:
        log.info("no native kernels: the package was installed without a C++ compiler; the torch path serves")
        return None
    return ctypes.CDLL(str(paths[-1]))


def threads() -> int:
    """The kernels take torch's own setting, so that one option rules both."""
    return torch.get_num_threads()
