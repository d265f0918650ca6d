"""ONNX Runtime sessions the way this room wants them: CPU, one thread unless told otherwise, quiet.

A session pool that spins (ONNX Runtime's default) on a shared core slows every other process;
spinning is off. An OpenVINO .xml is translated first (`openvino_ir`). Sessions may be used by
several threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from vultus.core.errors import PackError
from vultus.faces.engines.openvino_ir import onnx_of_ir

__all__ = ["Net"]

Tensor = npt.NDArray[np.float32]


class Net:
    """One ONNX file with one input: feeds batches, honours a fixed batch, names its outputs."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        graph = onnx_of_ir(path) if path.suffix == ".xml" else str(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except (
            Exception
        ) as fault:  # onnxruntime raises its own unnamed kinds for every broken graph
            words = " ".join(str(fault).split())[:160]
            raise PackError(
                f"ONNX Runtime cannot open it ({words})",
                where=str(path),
                expected="a whole ONNX file",
            ) from fault
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise PackError(f"the net has {len(inputs)} inputs", where=str(path), expected="one")
        self.path = path
        self.input_shape: tuple[int | None, ...] = tuple(
            n if isinstance(n, int) and n > 0 else None for n in inputs[0].shape
        )
        self._input = str(inputs[0].name)
        self.outputs: tuple[str, ...] = tuple(str(o.name) for o in self._session.get_outputs())

    def run(self, batch: Tensor) -> Mapping[str, Tensor]:
        """All outputs for a batch (N, ...). Nets whose file fixes the batch at one are fed one by
        one."""
        if self.input_shape[0] == 1 and len(batch) > 1:
            rows = [self.run(batch[i : i + 1]) for i in range(len(batch))]
            return {name: np.concatenate([row[name] for row in rows]) for name in self.outputs}
        try:
            found = self._session.run(
                None, {self._input: np.ascontiguousarray(batch, dtype=np.float32)}
            )
        except Exception as fault:
            words = " ".join(str(fault).split())[:160]
            raise PackError(
                f"the net refused an input of shape {batch.shape} ({words})",
                where=str(self.path),
                expected="the sizes that pack.toml names",
            ) from fault
        return dict(zip(self.outputs, (np.asarray(value) for value in found), strict=True))
