"""The nightly job of deploy/kubernetes, as its manifest says it, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner

from proxy.cli import main
from proxy.config import load_config
from proxy.learning.store import Store
from proxy.reload.policies import read_policy
from tests.deploy.manifests import Manifest, built, pods, the
from tests.learning.logs import log
from tests.learning.postgres import Cluster
from tests.learning.rows import settings


def args_of(kind: str, manifests: tuple[Manifest, ...]) -> list[str]:
    (one,) = pods(manifests)[kind]["spec"]["containers"]
    return list(one["args"])


def test_it_trains_what_the_replicas_take_up(postgres: Cluster, tmp_path: Path) -> None:
    manifests, url, routes = built("production"), postgres.fresh(), tmp_path / "routes.yaml"
    text: str = the(manifests, "ConfigMap")["data"]["routes.yaml"]
    routes.write_text(text.replace("/policy/", f"{tmp_path}/"), "utf-8")
    decided = log(300, route="everything-else")

    async def written() -> None:
        store = Store(settings(url))
        await store.write([decision for decision, _ in decided])
        await store.close()

    asyncio.run(written())
    rated = ", ".join(f"('{decision.id}', 'user', {rating}, NULL, 0)" for decision, rating in decided)
    postgres.sql(url, f"INSERT INTO feedback VALUES {rated}")
    args = [each.replace("/etc/pointsman/", f"{tmp_path}/").replace("/policy/", f"{tmp_path}/")
            for each in args_of("CronJob", manifests)]  # fmt: skip
    told = CliRunner().invoke(main, [*args, "--folds", "2"], env={"POINTSMAN_STORE": url})
    assert told.exit_code == 0, told.output
    assert "hunter2" not in told.output
    config = load_config(routes, {"POINTSMAN_STORE": url})
    assert config.policy is not None
    policy = read_policy(Path(config.policy.path))
    assert policy is not None
    assert set(policy.models) == {"small", "large"}
