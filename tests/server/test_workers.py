"""When a worker counts as dead."""

from __future__ import annotations

from typing import Any, cast

import uvicorn

from proxy.server.workers import Worker


class Running:
    """A process that runs, and does nothing else."""

    def is_alive(self) -> bool:
        return True


def test_a_worker_may_take_its_time_to_start_and_none_later() -> None:
    worker = Worker(uvicorn.Config("nobody:calls_it"), [])
    cast("Any", worker).process = Running()
    for _ in range(3):
        assert worker.is_alive(timeout=0), "it imports"
    assert worker.child_conn.recv() == b"ping"
    assert not worker.child_conn.poll(), "asked once, so that no answer is left over for later questions"
    worker.child_conn.send(False)
    assert not worker.is_alive(timeout=0), "it has answered once, and hangs now"
    worker.parent_conn.close()
    worker.child_conn.close()
