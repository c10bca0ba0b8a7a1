"""`DirectUpload.reconcile` and the metrics: what a sweep could not hand over stays in sight until one has."""

from __future__ import annotations

from collections.abc import Callable

from oss_wsgi import Metrics

from .site import Site

OWN, OTHER = "user-dir-prefix/", "other/"


def test_a_sweep_of_one_prefix_does_not_end_the_alarm_of_one_over_several(make: Callable[..., Site]) -> None:
    metrics = Metrics()
    site = make(metrics=metrics)

    def swept(*prefixes: str) -> float | None:
        """Sweep these prefixes; return the age that the metrics show."""
        site.reconcile(prefixes=prefixes)
        return metrics.registry.get_sample_value("oss_wsgi_oldest_untold_seconds")

    site.failing.add(site.upload())
    site.clock.advance(60)
    assert swept(OWN, OTHER) == 60
    assert swept(OTHER) == 60, "it has not looked at the upload"
    site.failing.clear()
    assert swept(OTHER) == 60
    assert swept(OWN, OTHER) == 0
