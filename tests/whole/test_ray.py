"""The executor `ray` on a loopback cluster of four machines: workers and a machine die, a driver dies, nothing is lost.

Skipped where the extra `ray` is not installed: VULTUS_EXTRAS=ray make setup. The pieces that need no Ray are tested in
tests/steps/test_ray_hand.py, so that they run everywhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.whole.test_pools import _bad, _render
from vultus.steps.orders import Do, Done, Order, Task
from vultus.steps.pools import InlinePool
from vultus.steps.ray_pool import RayPool, _import_ray
from vultus.store.ledger import Ledger
from vultus.testing.planted import make_base
from vultus.testing.pool import check_pool

ray = pytest.importorskip(
    "ray", reason="LOUD: the executor `ray` is NOT tested here: VULTUS_EXTRAS=ray make setup"
)
pytestmark = pytest.mark.slow

NODES = 4
STORE_BYTES = 90 * 2**20
PATIENCE_S = 300.0

DRIVER = """
import sys
from pathlib import Path
from tests.whole.test_pools import _render
from vultus.steps.orders import Task
from vultus.steps.ray_pool import RayPool
root = Path(sys.argv[1])
orders = [_render(root / "base", n) for n in range(int(sys.argv[3]))]
pool = RayPool(root / "driven", address=sys.argv[2], lanes=2)
done = pool.run([Task(lambda do, order=order: do(order)) for order in orders])
print(sum(one.remembered for one in done))
pool.close()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Four machines of one core each, on loopback."""
    _import_ray()  # what it says to Ray's environment holds for the whole cluster
    from ray.cluster_utils import Cluster

    made = Cluster()
    for _ in range(NODES):
        made.add_node(
            num_cpus=1, num_gpus=0, object_store_memory=STORE_BYTES, include_dashboard=False
        )
    made.last = sorted(made.worker_nodes, key=lambda node: node.node_id)[-1]
    ray.init(address=made.address, logging_level="error", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def _chain(order: Order) -> Callable[[Do], Done]:
    return lambda do: do(order)


@pytest.mark.parametrize("shared", [True, False], ids=["shared disk", "own disks"])
def test_the_exam(cluster: Any, tmp_path: Path, shared: bool) -> None:
    base = make_base(tmp_path / "base")
    orders = [_render(base, n) for n in range(5)]
    check_pool(
        lambda: RayPool(tmp_path / ".vultus", lanes=2, shared_disk=shared), orders, _bad(base)
    )


def test_workers_and_a_machine_die_and_nothing_differs(cluster: Any, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    orders = [_render(base, n) for n in range(24)]
    inline = InlinePool(tmp_path / "inline")
    expected = [done.ids for done in inline.run([Task(_chain(order)) for order in orders])]
    inline.close()

    pool = RayPool(tmp_path / "ray", lanes=NODES)
    pool.run([Task(_chain(order)) for order in orders[:6]])
    victims = pool.worker_pids()
    assert len(victims) >= 2
    os.kill(victims[0], signal.SIGSTOP)  # it takes an order and can neither do it nor answer
    threading.Timer(1.0, os.kill, (victims[0], signal.SIGKILL)).start()
    found = [done.ids for done in pool.run([Task(_chain(order)) for order in orders[:18]])]
    cluster.remove_node(cluster.last, allow_graceful=False)
    found = [done.ids for done in pool.run([Task(_chain(order)) for order in orders])]
    pool.close()
    assert found == expected and len(found) == 24
    with Ledger.open(tmp_path / "ray") as ledger:
        done = [a.step_key for a in ledger.attempts() if a.state.value == "done"]
    assert sorted(done) == sorted(order.step.key for order in orders), "lost or done twice"


def test_a_driver_that_dies_is_a_retry(cluster: Any, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    count = 200
    words = [sys.executable, "-c", DRIVER, str(tmp_path), cluster.address, str(count)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE_S
    while _finished(tmp_path / "driven") < 5:
        assert first.poll() is None and time.monotonic() < deadline, "the driver does not get on"
        time.sleep(0.05)
    first.kill()
    first.wait()
    before = _finished(tmp_path / "driven")
    assert 5 <= before < count, "the driver was too fast to be killed"
    again = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert int(again.stdout.split()[-1]) == before, "finished work was done again"
    assert _finished(tmp_path / "driven") == count
    assert base.exists()


def _finished(folder: Path) -> int:
    if not (folder / "ledger.sqlite").exists():
        return 0
    with Ledger.open(folder) as ledger:
        rows = ledger.rows("SELECT count(*) FROM attempt WHERE state = 'done'")
    return int(rows[0][0])
