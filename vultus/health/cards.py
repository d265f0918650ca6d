"""Graphics cards: driver, what CUDA it can run, memory, clocks, and whether the installed torch fits it.

Asked of NVIDIA's own library with nothing in between, because importing torch takes seconds and may itself fail. On a
machine without the library there is no card for us, which is a note and no fault.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from vultus.health.findings import Finding

__all__ = ["Nvml", "card_findings", "cards", "torch_cuda"]

GIB = 2**30
FULL_SIZE_GIB = 22
"""A 24 GB card tells 23.6 to 24; smaller ones cannot train full-size SDXL with both text encoders."""

_SM = 1  # NVML_CLOCK_SM
_SLOWDOWNS = {
    0x0000000000000008: "hardware slowdown (heat or power)",
    0x0000000000000020: "software thermal slowdown",
    0x0000000000000040: "hardware thermal slowdown",
    0x0000000000000080: "power brake",
}


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class Nvml:
    """The few questions that are asked of libnvidia-ml. Raises OSError where there is none, or it says no."""

    def __init__(self, library: Any = None) -> None:
        self._library = library or ctypes.CDLL("libnvidia-ml.so.1")
        self._ask("nvmlInit_v2")

    def _ask(self, name: str, *words: Any) -> None:
        code = getattr(self._library, name)(*words)
        if code:
            raise OSError(code, f"{name} answers {code}")

    def _text(self, name: str, *words: Any) -> str:
        text = ctypes.create_string_buffer(96)
        self._ask(name, *words, text, len(text))
        return text.value.decode(errors="replace")

    def _number(self, kind: Any, name: str, *words: Any) -> int:
        value = kind()
        self._ask(name, *words, ctypes.byref(value))
        return int(value.value)

    def driver(self) -> str:
        """Version of the driver."""
        return self._text("nvmlSystemGetDriverVersion")

    def cuda(self) -> tuple[int, int]:
        """The newest CUDA that this driver runs."""
        version = self._number(ctypes.c_int, "nvmlSystemGetCudaDriverVersion_v2")
        return version // 1000, version % 1000 // 10

    def handles(self) -> list[Any]:
        """One handle per card."""
        found = []
        for index in range(self._number(ctypes.c_uint, "nvmlDeviceGetCount_v2")):
            handle = ctypes.c_void_p()
            self._ask("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
            found.append(handle)
        return found

    def name(self, handle: Any) -> str:
        """Name of a card."""
        return self._text("nvmlDeviceGetName", handle)

    def memory(self, handle: Any) -> tuple[int, int]:
        """(total, free) bytes of a card."""
        memory = _Memory()
        self._ask("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return int(memory.total), int(memory.free)

    def clocks_mhz(self, handle: Any) -> tuple[int, int]:
        """(now, most) of a card's multiprocessors."""
        return (
            self._number(ctypes.c_uint, "nvmlDeviceGetClockInfo", handle, _SM),
            self._number(ctypes.c_uint, "nvmlDeviceGetMaxClockInfo", handle, _SM),
        )

    def slowdowns(self, handle: Any) -> list[str]:
        """Why a card is slower than it could be, as far as that is a fault."""
        reasons = self._number(
            ctypes.c_ulonglong, "nvmlDeviceGetCurrentClocksThrottleReasons", handle
        )
        return [words for bit, words in _SLOWDOWNS.items() if reasons & bit]


def cards(folder: Path) -> Iterator[Finding]:
    """Driver, CUDA and every card."""
    del folder
    yield from card_findings(Nvml, torch_cuda())


def card_findings(
    open_library: Callable[[], Nvml], wanted: tuple[int, int] | None
) -> Iterator[Finding]:
    """What the driver says, against the CUDA that torch was built for (None: a build without)."""
    build = "without CUDA" if wanted is None else f"for CUDA {wanted[0]}.{wanted[1]}"
    try:
        nvml = open_library()
        driver, can, handles = nvml.driver(), nvml.cuda(), nvml.handles()
    except (OSError, AttributeError):
        text = f"none: full-size SDXL is too slow here, the rest runs (torch is built {build})"
        yield Finding("graphics card", "note", text)
        return
    if not handles:
        text = f"driver {driver} sees no card"
        yield Finding(
            "graphics card", "fault", text, "nvidia-smi; on a pod: stop it and start it again"
        )
        return
    text = f"{driver}, runs CUDA {can[0]}.{can[1]}; torch is built {build}"
    if wanted is None:
        yield Finding(
            "driver",
            "fault",
            f"{text}: the card is not used",
            "env -u PIP_FIND_LINKS make clean setup",
        )
    elif can[0] < wanted[0]:
        yield Finding(
            "driver", "fault", text, f"a pod or driver for CUDA {wanted[0]} (R580 or newer for 13)"
        )
    else:
        yield Finding("driver", "ok", text)
    for number, handle in enumerate(handles):
        yield from _card(nvml, number, handle)


def _card(nvml: Nvml, number: int, handle: Any) -> Iterator[Finding]:
    about = f"card {number}"
    try:
        total, free = nvml.memory(handle)
        text = f"{nvml.name(handle)}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
        slow = nvml.slowdowns(handle)
        now, most = nvml.clocks_mhz(handle)
    except OSError as fault:
        yield Finding(
            about, "fault", f"does not answer: {fault.strerror}", "nvidia-smi; restart the pod"
        )
        return
    text += f", {now} of {most} MHz"
    if slow:
        cure = "nvidia-smi -q -d PERFORMANCE; a pod on another machine is not throttled"
        yield Finding(about, "fault", f"{text}, held back by {' and '.join(slow)}", cure)
    elif total / GIB < FULL_SIZE_GIB:
        yield Finding(about, "note", f"{text}: too small to train full-size SDXL")
    elif free / total < 0.9:
        yield Finding(about, "note", f"{text}: something else is using it", "nvidia-smi")
    else:
        yield Finding(about, "ok", text)


def torch_cuda() -> tuple[int, int] | None:
    """The CUDA that the installed torch was built for, read from its files; None without torch or without CUDA."""
    try:
        files = metadata.distribution("torch").locate_file("torch/version.py")
        text = Path(str(files)).read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return None
    found = re.search(r"^cuda\b[^=]*=\s*'(\d+)\.(\d+)", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None
