"""Kubernetes syntax of labels and names (apimachinery's rules), for whatever ends on pods."""

import re
from collections.abc import Mapping

from wingbeat_controlplane.errors import invalid_argument

LABELS_MAX = 16

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_dns_label(text: str) -> bool:
    """Whether `text` is a DNS-1123 label: lower case letters, digits, inner dashes, 1 to 63 characters."""
    return _DNS_LABEL.fullmatch(text) is not None


def check_labels(labels: Mapping[str, str]) -> None:
    """At most LABELS_MAX labels of legal keys and values. Raises ApiError INVALID_ARGUMENT naming a wrong one."""
    if len(labels) > LABELS_MAX:
        raise invalid_argument(f"invalid labels: {len(labels)} entries, at most {LABELS_MAX} are allowed")
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and (len(prefix) > 253 or not _DNS_SUBDOMAIN.fullmatch(prefix))):
            raise invalid_argument(f"invalid label key [{key}]: [prefix/]name of letters, digits and -_. is expected")
        if value and not _NAME.fullmatch(value):
            raise invalid_argument(
                f"invalid label value [{value}] of key [{key}]: at most 63 letters, digits and -_. are expected"
            )
