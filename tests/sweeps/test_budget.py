"""A budget is read as a user writes it, and minutes become renders at the measured price."""

from __future__ import annotations

import pytest

from vultus.sweeps.budget import Amount, Price, parse_amount, renders_for

PRICE = Price(render_s=4.0, read_s=1.0, lanes=2, renders=96)


@pytest.mark.parametrize(
    ("text", "amount", "renders"),
    [
        ("600 renders", Amount(600, "renders"), 600),
        ("1 render", Amount(1, "renders"), 1),
        ("40 minutes", Amount(40, "minutes"), 960),
        ("2.5 MINUTES ", Amount(2.5, "minutes"), 60),
        ("25 gpu-minutes", Amount(25, "gpu-minutes"), 375),
    ],
)
def test_amounts_and_what_they_buy(text: str, amount: Amount, renders: int) -> None:
    found = parse_amount(text)
    assert found == amount
    assert renders_for(amount, PRICE) == renders


@pytest.mark.parametrize(
    "text", ["600", "fast", "0 renders", "-3 minutes", "1e9 renders", "5 hours"]
)
def test_what_is_no_budget_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="600 renders"):
        parse_amount(text)


def test_nothing_said_and_nothing_timed() -> None:
    assert parse_amount("  ") is None
    assert renders_for(Amount(5, "minutes"), None) is None
    assert renders_for(Amount(5, "renders"), None) == 5
    assert PRICE.seconds(10) == 25.0 and PRICE.device_seconds(10) == 40.0
