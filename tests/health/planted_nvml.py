"""A graphics card of planted truth: what libnvidia-ml would answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class PlantedLibrary:
    """Answers NVML's calls through the same pointers as the real library."""

    driver: bytes = b"580.65.06"
    cuda: int = 13000
    cards: int = 1
    total_bytes: int = 24 * 2**30
    free_bytes: int = 24 * 2**30 - 2**29
    sm_mhz: int = 2520
    reasons: int = 0
    broken: bool = False

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:
        assert len(self.driver) < size
        text.value = self.driver
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, value: Any) -> int:
        value._obj.value = self.cuda
        return 0

    def nvmlDeviceGetCount_v2(self, value: Any) -> int:
        value._obj.value = self.cards
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        handle._obj.value = 1000 + index
        return 0

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: int) -> int:
        assert handle.value >= 1000 and size > 20
        text.value = b"NVIDIA GeForce RTX 4090"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        if self.broken:
            return 15
        memory._obj.total, memory._obj.free = self.total_bytes, self.free_bytes
        return 0

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, value: Any) -> int:
        assert kind == 1
        value._obj.value = self.sm_mhz
        return 0

    def nvmlDeviceGetMaxClockInfo(self, handle: Any, kind: int, value: Any) -> int:
        value._obj.value = 3105
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any, value: Any) -> int:
        value._obj.value = self.reasons
        return 0
