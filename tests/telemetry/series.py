"""The exposition as a dictionary."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from proxy.telemetry.metrics import Metrics, exposition

Series = dict[str, float]
"""Values by `name{label="value",...}`; a histogram's buckets are left out."""


def name_of(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return sample.name.removeprefix("pointsman_") + (f"{{{labels}}}" if labels else "")


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def series(text: str) -> Series:
    return {name_of(sample): sample.value for sample in samples(text) if "le" not in sample.labels}


def counted(metrics: Metrics) -> Series:
    """What is not zero."""
    return {name: value for name, value in series(exposition(metrics.registry, {}).decode()).items() if value}


def names(found: Iterable[str]) -> set[str]:
    return {name.partition("{")[0] for name in found}
