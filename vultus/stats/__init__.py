"""Numbers and their uncertainty: intervals, paired differences, calibration of evidence."""

from __future__ import annotations

__all__: list[str] = []
