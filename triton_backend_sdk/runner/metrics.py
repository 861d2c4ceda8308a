"""Triton's metrics, parsed from Prometheus' text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triton_backend_sdk.tools.metrics_text import Sample, samples

__all__ = ["Metrics", "Sample", "parse"]


class Metrics(Sequence[Sample]):
    """All samples of one look at the metrics endpoint."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)

    def value(self, name: str, **labels: str) -> float:
        """Give a metric's number: the sum of its samples that have these labels.

        :raises KeyError: there is no such sample.
        """
        found = [sample.value for sample in self.select(name, **labels)]
        if not found:
            names = ", ".join(dict.fromkeys(sample.name for sample in self._samples)) or "none"
            said = f" with {labels}" if labels else ""
            raise KeyError(f"no metric {name!r}{said}; there are: {names}")
        return sum(found)

    def select(self, name: str, **labels: str) -> list[Sample]:
        """Give the samples of a metric that have these labels."""
        return [
            sample
            for sample in self._samples
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
        ]

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # slices are of no use here
        return self._samples[index]

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)


def parse(text: str, runner: str = "") -> Metrics:
    """Read Prometheus' text.

    :param runner: a label that every sample gets, where it is not empty.
    """
    own = {"runner": runner} if runner else {}
    return Metrics([sample._replace(labels={**sample.labels, **own}) for sample in samples(text)])
