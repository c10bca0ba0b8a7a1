"""Which CORS rules hold for a bucket: those it was given by `?cors`, or those that were configured."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from .cors import CORS, CORSRule
from .cors_document import MAX_RULES, read_rules, rule_nodes
from .errors import OSSError
from .storage.interface import Bucket, Storage
from .xml_document import write_xml

_SETTING = "cors"
#: What is kept was within the limit of its time.
_MAX_KEPT = 10**6


@dataclass(frozen=True)
class BucketRules:
    """Rules that a bucket was given hold in place of the configured ones, also when they were deleted.

    :param rules: those of the configured `buckets`, and of every place that is no bucket.
    """

    storage: Storage
    buckets: Container[str]
    rules: Sequence[CORSRule]
    always_allowed: Sequence[str] = ()
    max_rules: int = MAX_RULES

    def cors(self, bucket: str) -> CORS:
        rules, vary = self.of(bucket)
        return CORS(rules, always_allowed=self.always_allowed, vary=vary)

    def of(self, bucket: str) -> tuple[Sequence[CORSRule], bool]:
        """The rules in force, and whether all answers say `Vary: Origin`."""
        try:
            text = self.storage.bucket(bucket).settings.get(_SETTING)
        except OSSError:
            return self.rules, True
        if text is None:
            return (self.rules, True) if bucket in self.buckets else ((), False)
        return read_rules(text.encode(), _MAX_KEPT) if text else ((), False)


def keep_rules(bucket: Bucket, rules: Sequence[CORSRule], vary: bool) -> None:
    bucket.change({_SETTING: write_xml("CORSConfiguration", rule_nodes(rules, vary)).decode() if rules else ""})
