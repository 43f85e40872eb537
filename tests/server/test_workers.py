"""When a worker counts as dead."""

from __future__ import annotations

from typing import Any, cast

import pytest
import uvicorn

from proxy.server.workers import Worker


class Running:
    """A process that runs, and does nothing else."""

    def is_alive(self) -> bool:
        return True


def test_a_worker_may_take_its_time_to_start_and_none_later() -> None:
    worker = Worker(uvicorn.Config("nobody:calls_it", log_config=None), [])
    cast("Any", worker).process = Running()
    for _ in range(3):
        assert worker.is_alive(timeout=0), "it imports"
    assert worker.child_conn.recv() == b"ping"
    assert not worker.child_conn.poll(), "asked once, so that no answer is left over for later questions"
    worker.child_conn.send(False)
    assert not worker.is_alive(timeout=0), "it has answered once, and hangs now"
    worker.parent_conn.close()
    worker.child_conn.close()


@pytest.mark.timeout(30)
def test_nobody_waits_for_the_answer_of_one_that_is_gone() -> None:
    worker = Worker(uvicorn.Config("nobody:calls_it", log_config=None), [])
    worker.start()
    worker.process.join()
    assert not worker.ping(timeout=3600)
    worker.parent_conn.close()
