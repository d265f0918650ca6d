"""Sums and averages are of products; what is written says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vultus.cli.main import main
from vultus.core.errors import WeightsError
from vultus.core.seeds import stream
from vultus.core.weights import read_header, read_tensors, write_weights
from vultus.training.lora_arithmetic import Pair, add_loras, read_lora, tensors_of
from vultus.training.lora_file import cast, write_lora
from vultus.training.lora_tools import inspect_lora, sum_loras

SHAPES = {
    "lora_unet_input_blocks_4_1_proj_in": ((4, 24), (16, 4)),
    "lora_unet_input_blocks_4_0_in_layers_2": ((2, 8, 3, 3), (16, 2, 1, 1)),
    "lora_te1_text_model_encoder_layers_0_mlp_fc1": ((4, 16), (32, 4)),
}


def _lora(path: Path, seed: int, **changes: Pair) -> Path:
    draw = stream("tests", "lora tools", seed)
    pairs = {
        prefix: Pair(
            draw.normal(size=down).astype(np.float16).astype(np.float32),
            draw.normal(size=up).astype(np.float16).astype(np.float32),
            alpha=2.0,
        )
        for prefix, (down, up) in SHAPES.items()
    }
    write_lora(path, tensors_of({**pairs, **changes}, "fp16"), {"ss_network_dim": "4", "x": "y"})
    return path


def _changes(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    found = {}
    for prefix, pair in read_lora(path).pairs.items():
        up, down = pair.factors()
        found[prefix] = up @ down
    return found


def test_a_sum_is_exact_and_an_average_is_the_nearest_of_its_rank(tmp_path: Path) -> None:
    files = [_lora(tmp_path / f"{i}.safetensors", i) for i in range(3)]
    parts = [_changes(file) for file in files]
    out = tmp_path / "sum.safetensors"
    told = sum_loras(files, out, weights=[1.0, 0.5, -1.0], rank=None, precision="fp32")
    assert told["lost"] == 0.0 and told["rank"] == 12
    for prefix, found in _changes(out).items():
        wanted = parts[0][prefix] + 0.5 * parts[1][prefix] - parts[2][prefix]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    sum_loras(files, tmp_path / "mean.safetensors", weights=None, rank=None, precision="fp32")
    compared = 0
    for prefix, found in _changes(tmp_path / "mean.safetensors").items():
        mean = sum(part[prefix] for part in parts) / 3
        rank = SHAPES[prefix][0][0]
        left, sizes, right = np.linalg.svd(mean, full_matrices=False)
        best = left[:, :rank] * sizes[:rank] @ right[:rank]
        np.testing.assert_allclose(found, best, rtol=0, atol=1e-5)
        assert np.linalg.matrix_rank(found, tol=1e-4) == rank
        compared += 1
    assert compared == 3


def test_the_average_of_one_is_itself_whatever_its_factors(tmp_path: Path) -> None:
    """Rotated factors are the same LoRA; averaging factors would not see that, products do."""
    file = _lora(tmp_path / "a.safetensors", 1)
    prefix = next(iter(SHAPES))
    pair = read_lora(file).pairs[prefix]
    turn = np.linalg.qr(stream("tests", "turn").normal(size=(4, 4))).Q.astype(np.float32)
    turned = Pair(turn.T @ pair.down, pair.up @ turn, pair.alpha)
    summed, lost = add_loras(
        [read_lora(file), read_lora(_lora(tmp_path / "b.safetensors", 1, **{prefix: turned}))],
        [0.5, 0.5],
        4,
    )
    up, down = summed[prefix].factors()
    np.testing.assert_allclose(up @ down, _changes(file)[prefix], atol=2e-2)
    assert lost < 1e-5


def test_what_has_no_sum_is_refused(tmp_path: Path) -> None:
    prefix = next(iter(SHAPES))
    pair = read_lora(_lora(tmp_path / "a.safetensors", 1)).pairs[prefix]
    dora = Pair(pair.down, pair.up, 1.0, magnitude=np.ones((16, 1), np.float32))
    other = Pair(pair.down[:, :8], pair.up, 1.0)
    for name, changed, what in (("dora", dora, "DoRA"), ("other", other, "another network")):
        file = _lora(tmp_path / f"{name}.safetensors", 2, **{prefix: changed})
        with pytest.raises(WeightsError, match=what):
            sum_loras(
                [tmp_path / "a.safetensors", file],
                tmp_path / "out.safetensors",
                weights=None,
                rank=None,
                precision="fp16",
            )


def test_inspect_counts_and_measures(tmp_path: Path) -> None:
    file = _lora(tmp_path / "a.safetensors", 1)
    told = inspect_lora(file)
    assert told["modules"] == 3 and not told["dora"]
    norms = {g["network"] + g["kind"]: g["mean_norm"] for g in told["groups"]}
    for prefix, change in _changes(file).items():
        kind = "conv3x3" if "in_layers" in prefix else "linear"
        found = norms[prefix.split("_")[1] + kind]
        assert found == pytest.approx(float(np.linalg.norm(change)), rel=1e-6)


def test_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(_lora(tmp_path / f"{i}.safetensors", i)) for i in range(2)]
    out = str(tmp_path / "out.safetensors")
    assert main(["lora", "average", *files, "-o", out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["modules"] == 3 and 0 < told["lost"] < 1
    assert main(["lora", "inspect", out]) == 0
    shown = capsys.readouterr().out
    assert "3 modules" in shown and "conv3x3" in shown and "rank 4" in shown
    private = tmp_path / "private.safetensors"
    assert (
        main(["lora", "convert", files[0], str(private), "--private", "--precision", "bf16"]) == 0
    )
    header = read_header(private)
    assert set(header.metadata) == {"ss_network_dim", "sshs_model_hash", "sshs_legacy_hash"}
    numbers = {info.dtype for name, info in header.tensors.items() if not name.endswith(".alpha")}
    assert numbers == {"BF16"}
    assert main(["lora", "convert", files[0], out, "--to", "diffusers"]) == 0
    names = set(read_header(Path(out)).tensors)
    assert "unet.down_blocks.1.attentions.0.proj_in.lora_A.weight" in names
    assert "unet.down_blocks.1.resnets.0.conv1.lora_B.weight" in names
    assert len(names) == 6


@pytest.mark.parametrize("rank", [8, 500])
def test_a_merge_takes_the_rank_that_was_asked_for(tmp_path: Path, rank: int) -> None:
    files = [_lora(tmp_path / f"{i}.safetensors", i) for i in range(2)]
    parts = [_changes(file) for file in files]
    out = tmp_path / "both.safetensors"
    told = sum_loras(files, out, weights=[1.0, 1.0], rank=rank, precision="fp32")
    assert told["rank"] == 8 and told["lost"] < 1e-9
    compared = 0
    for prefix, found in _changes(out).items():
        np.testing.assert_allclose(found, parts[0][prefix] + parts[1][prefix], rtol=0, atol=1e-5)
        compared += 1
    assert compared == 3
    assert sum_loras(files, out, weights=[1.0, 1.0], rank=4, precision="fp32")["lost"] > 0.05
    assert sum_loras(files, out, weights=None, rank=8, precision="fp32")["rank"] == 4


@pytest.mark.parametrize("verb", ["merge", "average"])
@pytest.mark.parametrize("rank", ["0", "-2", "4097"])
def test_a_rank_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, rank: str
) -> None:
    file, out = _lora(tmp_path / "a.safetensors", 1), tmp_path / "out.safetensors"
    assert main(["lora", verb, str(file), str(file), "-o", str(out), f"--rank={rank}"]) == 2
    assert f"--rank {rank} is outside 1..4096" in capsys.readouterr().err and not out.exists()


def test_factors_without_a_product_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.safetensors"
    prefix = next(iter(SHAPES))
    shapes = [((0, 24), (16, 0)), ((4, 24), (16, 3)), ((24,), (16, 4))]
    for down, up in shapes:
        tensors = {f"{prefix}.lora_down.weight": np.ones(down, np.float16)}
        tensors[f"{prefix}.lora_up.weight"] = np.ones(up, np.float16)
        write_weights(file, tensors, {})
        assert main(["lora", "inspect", str(file)]) == 2
        assert "two factors of one rank, 1 or more" in capsys.readouterr().err


def test_numbers_that_are_not_finite_are_told_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, out = (tmp_path / f"{name}.safetensors" for name in ("good", "bad", "out"))
    _lora(good, 1)
    tensors = read_tensors(good)
    prefix = next(iter(SHAPES))
    spoilt = tensors[f"{prefix}.lora_up.weight"]
    spoilt[0, :2] = np.nan, np.inf
    write_weights(bad, tensors, {})
    assert main(["lora", "inspect", str(bad)]) == 1
    shown = capsys.readouterr().out
    assert f"NOT FINITE: 2 numbers in 1 of 3 modules ({prefix})" in shown
    assert "mean size of the change unknown" in shown
    assert main(["lora", "inspect", str(bad), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["not_finite"] == {prefix: 2}
    for words in (
        ["merge", str(good), str(bad), "-o", str(out)],
        ["average", str(good), str(bad), "-o", str(out)],
        ["convert", str(bad), str(out)],
    ):
        assert main(["lora", *words]) == 2
        err = capsys.readouterr().err
        assert f"{bad}: holds 2 numbers that are not finite" in err and "learning" not in err
    both = ["merge", str(good), str(good), "-o", str(out), "--weights"]
    assert main(["lora", *both, "1", "nan"]) == 2
    assert "--weights nan: not finite" in capsys.readouterr().err
    assert main(["lora", *both, "1", "1e9"]) == 2
    err = capsys.readouterr().err
    assert "beyond the range of fp16" in err and "--precision fp32" in err
    assert not out.exists()


def test_bf16_rounds_as_torch_does() -> None:
    import torch

    values = stream("tests", "bf16").normal(size=4096).astype(np.float32)
    bits = cast(values, "bf16").view(np.uint16)
    wanted = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(bits, wanted)
