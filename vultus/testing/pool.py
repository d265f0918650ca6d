"""The exam of pools: `check_pool(make, orders)` asserts what `steps.orders.Pool` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vultus.core.errors import VultusError
from vultus.steps.orders import Do, Done, Order, Pool, Task


def check_pool(make: Callable[[], Pool], orders: Sequence[Order], bad: Order) -> None:
    """Do orders on a pool, again on another, and with one that fails in the middle.

    `orders` are at least three that succeed; `bad` raises a VultusError.
    """
    assert len(orders) >= 3
    pool = make()
    first = pool.run([Task(_chain(order)) for order in orders])
    pool.close()
    assert [done.key for done in first] == [order.step.key for order in orders], (
        "results out of order"
    )
    assert not any(done.remembered for done in first), "new work was called remembered"

    pool = make()
    again = pool.run([Task(_chain(order), place="here") for order in orders])
    assert all(done.remembered for done in again), "finished work was done again"
    for one, other in zip(first, again, strict=True):
        assert one.ids == other.ids
        assert all(path.exists() for path in other.files.values())
    assert pool.run([]) == []
    try:
        pool.run([Task(_chain(orders[0])), Task(_chain(bad)), Task(_chain(orders[1]))])
    except VultusError:
        pool.close()
        return
    raise AssertionError("a fault inside a task was swallowed")


def _chain(order: Order) -> Callable[[Do], Done]:
    return lambda do: do(order)


__all__ = ["check_pool"]
