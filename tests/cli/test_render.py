"""`vultus render` and `vultus lora convert`: what cannot be is refused in one clear error, before anything is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.cli.main import main
from vultus.core.weights import write_weights
from vultus.training.lora_arithmetic import Pair, tensors_of


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--guidance=nan", "guidance = nan (expected a finite number)"),
        ("--strength=nan", "--strength nan (expected a finite number)"),
        ("--seed=12345678901234567890123", "(expected 0 to 9223372036854775807)"),
        ("--seed=-1", "--seed -1"),
        ("--steps=0", "steps = 0 is outside 1..500"),
    ],
)
def test_numbers_that_no_renderer_takes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, told: str
) -> None:
    out = tmp_path / "pictures"
    words = ["render", "--base", "standin/plain", "--prompt", "x", "--out", str(out), option]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert told in err and "Nothing was started" in err and not out.exists()


def test_a_wrong_base_is_told_with_the_option_that_named_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for base in ("nobody", str(tmp_path)):
        words = ["render", "--base", base, "--prompt", "x", "--out", str(tmp_path / "out")]
        assert main(words) == 2
        err = capsys.readouterr().err
        assert "next: give --base standin/<name>" in err and "vultus.toml" not in err


def test_convert_takes_the_name_of_a_stand_in_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    pair = Pair(np.ones((2, 8), np.float32), np.ones((8, 2), np.float32), 2.0)
    lora, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_weights(lora, tensors_of({prefix: pair}, "fp16"), {})
    words = ["lora", "convert", str(lora), str(out), "--to", "diffusers", "--base"]
    assert main([*words, "standin/plain"]) == 0 and out.is_file()
    capsys.readouterr()
    assert main([*words, "standin/plane"]) == 2
    assert 'did you mean "plain"' in capsys.readouterr().err
