"""Kubernetes' manifests: each is what its schema asks for, and all agree with one another and with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import httpx
import kubernetes_validate
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from proxy.app import build_app
from proxy.cli import main
from proxy.cli.serve import serve
from proxy.cli.train import train
from proxy.config import Config, Duration, Learned, load_config
from proxy.telemetry.metrics import Metrics
from tests.deploy.manifests import (
    DEPLOY,
    LAST_S,
    OVERLAYS,
    Manifest,
    built,
    kustomizations,
    of_kind,
    pods,
    selects,
    the,
)
from tests.docs.pages import PAGES
from tests.serving import serving

SCHEMA = "1.37"
ENVIRON = {"POINTSMAN_STORE": "postgresql+asyncpg://name:password@host/database"}
SECRET = set(re.findall(r"--from-literal=(\w+)=", PAGES["docs/deploy.md"]))
"""What the page has put into the Secret, of which each pod has all."""
BENCH = (DEPLOY.parent / "bench" / "README.md").read_text("utf-8")
MOST_APPLIED = 262_144  # bytes of an annotation, in which `kubectl apply` keeps what it applied

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def config_of(overlay: str) -> Config:
    return load_config(DEPLOY / "kubernetes" / "overlays" / overlay / "routes.yaml", ENVIRON)


def container(manifests: tuple[Manifest, ...], kind: str = "Deployment") -> Manifest:
    (one,) = pods(manifests)[kind]["spec"]["containers"]
    return one  # type: ignore[no-any-return]


def mounts(pod: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    """Each mount of the pod's one container, with its volume."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    (one,) = pod["spec"]["containers"]
    assert {mount["name"] for mount in one["volumeMounts"]} == volumes.keys(), "a volume that nobody has, or needs"
    for mount in one["volumeMounts"]:
        yield mount, volumes[mount["name"]]


def seconds(duration: str) -> int:
    """Of Prometheus' `15s`."""
    assert duration.endswith("s")
    return int(duration[:-1])


def bytes_of(quantity: str) -> int:
    """Of Kubernetes' `256Mi`."""
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


def understood(command: click.Command, args: list[str]) -> dict[str, Any]:
    """
    What a command line says, as the command itself reads it.

    Raises:
        click.ClickException: it would not start.
    """
    return command.make_context(command.name, list(args)).params


def understood_by_the_operator(manifest: Manifest) -> Manifest:
    """
    What Prometheus' operator's own types read of one of its kinds: what they do not know is left out.

    Raises:
        ValueError: a value that they refuse.
    """
    from cloudcoil.models.prometheus_operator import v1  # takes seconds

    read = getattr(v1, manifest["kind"]).model_validate(manifest)
    return read.model_dump(by_alias=True, exclude_unset=True, mode="json")  # type: ignore[no-any-return]


@every_overlay
def test_the_schemas_hold(overlay: str) -> None:
    for manifest in built(overlay):
        if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
            assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
            assert understood_by_the_operator(manifest) == manifest
        else:
            kubernetes_validate.validate(manifest, SCHEMA, strict=True)
        assert len(msgspec.json.encode(manifest)) < MOST_APPLIED / 1.5, manifest["metadata"]["name"]


def test_the_operators_types_refuse_what_is_wrong() -> None:
    wrong = msgspec.json.decode(msgspec.json.encode(the(built("production"), "ServiceMonitor")))
    wrong["spec"]["endpoints"][0]["scrapeTimeOut"] = "1s"
    assert understood_by_the_operator(wrong) != wrong
    wrong["spec"]["endpoints"][0]["interval"] = "often"
    with pytest.raises(ValueError, match="interval"):
        understood_by_the_operator(wrong)


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = msgspec.json.decode(msgspec.json.encode(the(built("demo"), "Deployment")))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, SCHEMA, strict=True)


def test_what_each_overlay_consists_of() -> None:
    kinds = {overlay: sorted(manifest["kind"] for manifest in built(overlay)) for overlay in OVERLAYS}
    assert kinds["demo"] == ["ConfigMap", "Deployment", "Service"], "any cluster takes it"
    assert kinds["production"] == [
        "ConfigMap", "ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy",
        "PersistentVolumeClaim", "PodDisruptionBudget", "PrometheusRule", "Service", "ServiceMonitor",
    ]  # fmt: skip
    namespaces = {each["metadata"].get("namespace") for each in built("production") if each["kind"] != "Namespace"}
    assert namespaces == {"pointsman"}


def test_a_kustomization_reads_no_file_outside_its_folder() -> None:
    """`kubectl apply -k` refuses that; a folder with a kustomization of its own may lie anywhere."""
    for folder, content in kustomizations():
        generated = [name for each in content.get("configMapGenerator", ()) for name in each["files"]]
        for name in (*content.get("resources", ()), *content.get("components", ()), *generated):
            path = (folder / name).resolve()
            if path.is_dir():
                assert (path / "kustomization.yaml").is_file(), path
            else:
                assert path.is_file(), path
                assert path.is_relative_to(folder), path


@every_overlay
def test_what_is_selected_and_mounted_is_there(overlay: str) -> None:
    manifests = built(overlay)
    deployment, service = the(manifests, "Deployment"), the(manifests, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container(manifests)["ports"]}
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert selects(service["spec"]["selector"], labels)
    for port in service["spec"]["ports"]:
        assert port["targetPort"] in ports
        assert port["appProtocol"] == "http", "whoever spoke TLS or HTTP/2 to it would get nothing"
    for kind, pod in pods(manifests).items():
        assert kind == "Deployment" or not selects(service["spec"]["selector"], pod["metadata"]["labels"])
        for mount, volume in mounts(pod):
            if name := volume.get("configMap", {}).get("name"):
                assert name in of_kind(manifests, "ConfigMap")
                assert mount["readOnly"] is True
            if name := volume.get("persistentVolumeClaim", {}).get("claimName"):
                assert name in of_kind(manifests, "PersistentVolumeClaim")
        # All that read the same routes.yaml have the same variables.
        assert "env" not in pod["spec"]["containers"][0]
        assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "pointsman", "optional": True}}]
    for constraint in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert selects(constraint["labelSelector"]["matchLabels"], labels)


def test_what_production_adds_means_the_deployment() -> None:
    manifests = built("production")
    labels = pods(manifests)["Deployment"]["metadata"]["labels"]
    ports = {port["name"] for port in the(manifests, "Service")["spec"]["ports"]}
    scaler = the(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pointsman"}
    assert "replicas" not in the(manifests, "Deployment")["spec"], "or each apply would undo the scaling"
    budget = the(manifests, "PodDisruptionBudget")["spec"]
    assert selects(budget["selector"]["matchLabels"], labels)
    assert 0 < budget["maxUnavailable"] < scaler["minReplicas"], "with 0 no node could be drained"
    monitor = the(manifests, "ServiceMonitor")["spec"]
    assert selects(monitor["selector"]["matchLabels"], the(manifests, "Service")["metadata"]["labels"])
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports
    for endpoint in monitor["endpoints"]:  # or Prometheus' operator leaves the whole monitor out
        assert seconds(endpoint["scrapeTimeout"]) <= seconds(endpoint["interval"])
    network = the(manifests, "NetworkPolicy")["spec"]
    for pod in pods(manifests).values():
        assert selects(network["podSelector"]["matchLabels"], pod["metadata"]["labels"])
    (ingress,) = network["ingress"]
    assert [port["port"] for port in ingress["ports"]] == ["http"]


def test_pods_reach_whom_they_call_and_nobody_else() -> None:
    network = the(built("production"), "NetworkPolicy")["spec"]
    assert set(network["policyTypes"]) == {"Ingress", "Egress"}, "what is not named here is open"

    def reached(address: str, port: int) -> set[str]:
        """The protocols by which an address may be asked at a port."""
        return {
            to.get("protocol", "TCP")
            for rule in network["egress"]
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer)
            if ip_address(address) in ip_network(block["cidr"])
            and not any(ip_address(address) in ip_network(but) for but in block.get("except", ()))
            for to in rule["ports"]
            if to["port"] == port
        }

    for upstream in config_of("production").upstreams.values():
        assert reached("8.8.8.8", urlsplit(upstream.base_url).port or 443) == {"TCP"}
    assert not reached("8.8.8.8", 80), "keys would cross the world in the clear"
    # A network of one's own, of the provider, and what hands out the node's credentials.
    for address in ("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "169.254.20.10"):
        assert not reached(address, 443), address
    assert reached("169.254.20.10", 53) == {"UDP", "TCP"}, "a long answer comes by TCP"
    inside = [
        (
            {**peer["namespaceSelector"], **peer.get("podSelector", {})},
            {(to["port"], to.get("protocol", "TCP")) for to in rule["ports"]},
        )
        for rule in network["egress"]
        for peer in rule["to"]
        if "ipBlock" not in peer
    ]
    assert inside == [
        ({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, {(53, "UDP"), (53, "TCP")}),
        ({"matchLabels": {"app.kubernetes.io/name": "postgresql"}}, {(5432, "TCP")}),
    ]


def test_replicas_leave_one_by_one_and_none_before_its_successor_is_ready() -> None:
    manifests = built("production")
    rolling = the(manifests, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxSurge"], rolling["maxUnavailable"]) == (1, 0)
    leaving = the(manifests, "HorizontalPodAutoscaler")["spec"]["behavior"]["scaleDown"]
    assert leaving["stabilizationWindowSeconds"] >= 300, "which is the default: a lull between two bursts is no end"
    assert [(policy["type"], policy["value"]) for policy in leaving["policies"]] == [("Pods", 1)]


@every_overlay
def test_what_is_probed_and_scraped_is_served(overlay: str) -> None:
    manifests, one = built(overlay), container(built(overlay))
    paths = {probe: one[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    scraped = [
        endpoint["path"]
        for monitor in of_kind(manifests, "ServiceMonitor").values()
        for endpoint in monitor["spec"]["endpoints"]
    ]
    config = msgspec.structs.replace(config_of(overlay), store=None, policy=None)
    with serving(build_app(config)) as served:
        for path in (*paths.values(), *scraped):
            assert httpx.get(served.url + path).status_code == 200, path


@every_overlay
def test_the_command_line_is_understood(overlay: str) -> None:
    one = container(built(overlay))
    command, *args = one["args"]
    assert command == "serve"
    said = understood(serve, args)
    assert [port["containerPort"] for port in one["ports"]] == [said["port"]]
    assert said["host"] == "0.0.0.0"
    assert said["demo"] is (overlay == "demo")
    assert said["workers"] == 1, "with more, a probe would see one of them, and one core would have several"
    (mount,) = [mount for mount, volume in mounts(pods(built(overlay))["Deployment"]) if "configMap" in volume]
    assert str(said["config_path"]) == f"{mount['mountPath']}/routes.yaml"


def test_what_ci_is_to_run_passes_on_the_file_that_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = re.findall(r"`([^`]*pointsman check --config routes.yaml)`", PAGES["docs/deploy.md"])
    settings, arguments = line.split("pointsman ")
    environ = dict.fromkeys(SECRET) | dict(each.split("=", 1) for each in settings.split())
    monkeypatch.chdir(DEPLOY / "kubernetes" / "overlays" / "production")
    checked = CliRunner().invoke(main, arguments.split(), env=environ)
    assert checked.exit_code == 0, checked.output


@every_overlay
def test_its_routes_yaml_is_valid_and_passes_its_own_tests(overlay: str) -> None:
    path = DEPLOY / "kubernetes" / "overlays" / overlay / "routes.yaml"
    checked = CliRunner().invoke(main, ["check", "-c", str(path)], env=ENVIRON)
    assert checked.exit_code == 0, checked.output
    assert config_of(overlay).tests
    config_map = the(built(overlay), "ConfigMap")
    assert config_map["data"] == {"routes.yaml": path.read_text(encoding="utf-8")}
    variables = set(re.findall(r"\$\{(\w+)(?!\w*:-)", path.read_text(encoding="utf-8")))
    assert variables <= SECRET


@every_overlay
def test_a_change_of_routes_yaml_reaches_the_pod_that_runs(overlay: str) -> None:
    """The ConfigMap keeps its name, and its folder is mounted: the swap is what tests/test_reload.py takes up."""
    assert "pointsman" in of_kind(built(overlay), "ConfigMap"), "no hash of the content"
    for pod in pods(built(overlay)).values():
        for mount, volume in mounts(pod):
            assert "subPath" not in mount
            assert volume.get("configMap", {"name": "pointsman"}) == {"name": "pointsman"}


@every_overlay
def test_a_pod_ends_in_order_before_it_is_killed(overlay: str) -> None:
    drain = config_of(overlay).server.drain
    pod = pods(built(overlay))["Deployment"]["spec"]
    assert drain.delay is not None
    assert drain.delay >= Duration(5.0), "every node must have learnt that the pod leaves"
    assert drain.delay < drain.grace
    assert drain.grace + LAST_S < pod["terminationGracePeriodSeconds"]
    assert "lifecycle" not in pod["containers"][0], "a preStop hook would add to it"


def test_a_busy_pod_gets_no_more_requests_before_it_is_killed() -> None:
    one = container(built("demo"))
    failing = {
        name: one[name]["periodSeconds"] * one[name]["failureThreshold"] for name in ("readinessProbe", "livenessProbe")
    }
    assert failing["readinessProbe"] < failing["livenessProbe"]
    assert one["readinessProbe"]["timeoutSeconds"] < one["livenessProbe"]["timeoutSeconds"]


def test_a_start_may_take_as_long_as_the_longest_that_was_measured() -> None:
    probe = container(built("demo"))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 1.5 * 97.7  # bench/README.md, 20,000 new examples


@every_overlay
def test_a_pod_may_do_nothing_that_it_need_not(overlay: str) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user is not None
    for pod in pods(built(overlay)).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        everybody = spec["securityContext"]
        assert everybody["runAsNonRoot"] is True
        assert (everybody["runAsUser"], everybody["runAsGroup"]) == tuple(map(int, user.groups()))
        assert everybody["fsGroup"] == everybody["runAsGroup"], "or it could not write a volume, which is root's"
        assert everybody["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert {"cpu", "memory"} == one["resources"]["requests"].keys()
            assert one["resources"]["limits"].keys() == {"memory"}


def test_scaling_asks_for_series_that_there_are() -> None:
    one_worker = config_of("production").server.max_in_flight
    exported = {series.name for series in Metrics().registry.collect()}
    metrics = the(built("production"), "HorizontalPodAutoscaler")["spec"]["metrics"]
    asked = {each["pods"]["metric"]["name"]: each["pods"]["target"] for each in metrics if each["type"] == "Pods"}
    assert asked.keys() <= exported
    assert 0 < int(asked["pointsman_in_flight"]["averageValue"]) <= one_worker / 2
    adapter = yaml.safe_load((DEPLOY / "kubernetes/components/in-flight/prometheus-adapter.yaml").read_text("utf-8"))
    (rule,) = adapter["rules"]["custom"]
    assert {rule["name"]["as"]} == asked.keys()
    assert rule["seriesQuery"].split("{")[0] in exported


@every_overlay
def test_a_pod_has_the_memory_that_was_measured(overlay: str) -> None:
    of = {kind: container(built(overlay), kind)["resources"] for kind in pods(built(overlay))}
    figures = re.search(
        r"takes 150 to (\d+) MB, and (\d+) MB more .*?, and (\d+) while it is reloaded", PAGES["docs/deploy.md"]
    )
    assert figures is not None
    usual, conversations, most = map(int, figures.groups())
    assert f"| reload, 10 examples changed | 0 | 10 | | | 121.3 | {most} |" in BENCH
    assert bytes_of(of["Deployment"]["requests"]["memory"]) > 1.2e6 * (usual + conversations)
    assert bytes_of(of["Deployment"]["limits"]["memory"]) > 1.2e6 * most
    if "CronJob" in of:
        training = re.search(r"`pointsman train --store` took .*? and ([\d.]+) GB at the most", BENCH)
        assert training is not None
        assert bytes_of(of["CronJob"]["limits"]["memory"]) > 1.2e9 * float(training[1])


@dataclass(frozen=True)
class Measured:
    """Requests a second of one kind, as bench/README.md has them, for whole answers and for streams."""

    whole: str
    stream: str


def measured(what: str) -> Measured:
    found = [
        re.search(
            rf"\*\*{kind}, 32 connections\*\*.*?^\| Pointsman, {what} \| ([\d,]+) \|", BENCH, re.DOTALL | re.MULTILINE
        )
        for kind in ("non-streaming", "streaming")
    ]
    whole, stream = (each[1] for each in found if each is not None)
    return Measured(whole, stream)


def test_the_sizing_example_reckons_with_what_was_measured() -> None:
    text, cores = (DEPLOY.parent / "docs" / "deploy.md").read_text("utf-8"), 0.0
    for what, said, per_second in (
        ("rule only", "decided by a rule", 90),
        ("topic, cached text", "by a text that was seen before", 70),
        ("topic, new text", "by a new text of 30 tokens", 140),
    ):
        one = measured(what)
        assert f"| {said} | {one.whole} | {one.stream} |" in text
        share = per_second / int(one.stream.replace(",", ""))
        assert f"{per_second} / {one.stream} = {share:.2f}" in text
        cores += share
    assert f"{cores:.2f} cores. At 65%" in text


def test_rules_and_dashboards_are_those_of_prometheus_and_grafana() -> None:
    manifests = built("production")
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    assert the(manifests, "PrometheusRule")["spec"] == rules, "make rules"
    dashboards = the(manifests, "ConfigMap", "pointsman-dashboards")
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    files = {path.name: path.read_text(encoding="utf-8") for path in (DEPLOY / "grafana").glob("*.json")}
    assert dashboards["data"] == files


class TestLearning:
    """The CronJob writes what the replicas read."""

    def test_what_it_writes_is_what_the_replicas_read(self) -> None:
        manifests, config = built("production"), config_of("production")
        assert config.policy is not None
        args = container(manifests, "CronJob")["args"]
        out = args[args.index("--out") + 1]
        assert str(config.policy.path) == out
        claims = {}
        for kind, pod in pods(manifests).items():
            (mount,) = [mount for mount, _ in mounts(pod) if out.startswith(mount["mountPath"] + "/")]
            (volume,) = [volume for other, volume in mounts(pod) if other is mount]
            claims[kind] = volume["persistentVolumeClaim"]["claimName"], mount.get("readOnly", False)
        assert claims == {"Deployment": ("pointsman-policy", True), "CronJob": ("pointsman-policy", False)}
        claim = the(manifests, "PersistentVolumeClaim", "pointsman-policy")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]

    def test_its_command_line_is_understood(self, tmp_path: Path) -> None:
        command, *args = container(built("production"), "CronJob")["args"]
        assert command == "train"
        # The volume is a folder here, since the command line is refused where what it names is not there.
        said = understood(train, [arg.replace("/policy/", f"{tmp_path}/") for arg in args])
        assert said["out"] == tmp_path / "policy.npz"
        assert str(said["config_path"]) == "/etc/pointsman/routes.yaml"
        assert said["force"] is False, "or each night's policy would replace the one in use, however bad"

    def test_before_there_is_a_policy_chance_tells_of_each_model(self) -> None:
        """Or there would never be one: where nothing is drawn, nothing can be learned."""
        (use,) = [route.use for route in config_of("production").routes if isinstance(route.use, Learned)]
        assert use.explore

    def test_a_second_one_does_not_run_beside_it_nor_after_one_that_was_no_better(self) -> None:
        job = the(built("production"), "CronJob", "pointsman-train")["spec"]
        assert job["concurrencyPolicy"] == "Forbid"
        assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
