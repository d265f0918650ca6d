"""Cells and blocks: what is compared, and on what."""

from __future__ import annotations

from vultus.sweeps.cells import Block, Cell, list_blocks, list_cells


def test_cells_go_base_by_base_and_leave_strength_zero_out() -> None:
    cells = list_cells(("b", "a"), (10, 20), (1.0, 0.0, 0.5))
    assert len(cells) == 8
    assert [cell.base for cell in cells] == ["b"] * 4 + ["a"] * 4
    assert all(cell.strength > 0 for cell in cells)


def test_a_prefix_of_the_blocks_is_balanced_over_prompts() -> None:
    rows = [("close_up", f"{{persona}} {i}") for i in range(5)]
    blocks = list_blocks(rows, (1, 2, 3))
    assert len(blocks) == len(set(blocks)) == 15
    assert len({block.template for block in blocks[:5]}) == 5
    assert {block.seed for block in blocks[:5]} == {1}


def test_the_noise_of_a_block_does_not_depend_on_the_words() -> None:
    block = Block("photo of {persona}, smiling", 3, "close-up")
    assert block.prompt("ohwx woman") == "photo of ohwx woman, smiling"
    assert block.prompt("woman") == "photo of woman, smiling"
    assert block.noise_seed == Block("photo of {persona}, smiling", 3, "half body").noise_seed
    others = {
        Block("photo of {persona}, smiling", 4, "").noise_seed,
        Block("{persona}", 3, "").noise_seed,
    }
    assert len(others | {block.noise_seed}) == 3


def test_groups_read_like_words() -> None:
    rows = [("close_up", "a"), ("half_body", "b"), ("full_body", "c")]
    assert [block.group for block in list_blocks(rows, (1,))] == [
        "close-up",
        "half body",
        "full body",
    ]


def test_a_cell_says_what_it_is() -> None:
    assert Cell("plain", 0, 0.0).words == "plain alone"
    assert Cell("plain", 125, 0.7).words == "plain, step 125, strength 0.7"
