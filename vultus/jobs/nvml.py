"""Cards by NVIDIA's management library (nvidia-ml-py, in the extra `gpu`).

Free memory is what `nvmlDeviceGetMemoryInfo_v2` calls free: on a card that drives nothing else it
is total minus what the driver reserves minus what processes hold.
"""

from __future__ import annotations

from typing import Any

from vultus.core.errors import JobError
from vultus.jobs.cards import Card

__all__ = ["NvmlProbe", "open_probe"]


class NvmlProbe:
    """The driver's own numbers."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def cards(self) -> tuple[Card, ...]:
        """Return every card that the driver shows to this process."""
        nvml = self._nvml
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            minor = nvml.nvmlDeviceGetMinorNumber(handle)
            found.append(
                Card(
                    uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
                    index=index,
                    name=_text(nvml.nvmlDeviceGetName(handle)),
                    total_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                    device_file=f"/dev/nvidia{minor}",
                )
            )
        return tuple(found)

    def free_bytes(self, uuid: str) -> int:
        """Measure one card."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid.encode())
            return int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
        except nvml.NVMLError as fault:
            raise JobError(
                f"the card {uuid} cannot be measured: {fault}",
                expected="a card that the driver shows",
                next_command="nvidia-smi -L",
            ) from fault


def open_probe() -> NvmlProbe:
    """Open the library once per process. Raises JobError when the driver does not answer."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as fault:
        raise JobError(
            f"NVIDIA's driver does not answer: {fault}", next_command="nvidia-smi"
        ) from fault
    return NvmlProbe(pynvml)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
