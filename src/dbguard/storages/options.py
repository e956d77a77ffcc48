"""How to reach and use a bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Addressing = Literal["auto", "path", "virtual"]
Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """Nothing set means AWS with its own chain of credentials: environment, profiles, roles of the machine.

    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html
    """

    endpoint_url: str | None = None
    region: str | None = None
    addressing: Addressing = "auto"
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    sse: Encryption | None = None
    sse_kms_key_id: str | None = None
    storage_class: str | None = None
    checksums: Literal["auto", "always", "never"] = "auto"
    """Whether the store checks a CRC of each request. `auto`: on AWS only, for others may refuse what they do not
    know (boto3 issue 4392); a bucket with Object Lock demands it. Our own SHA-256 is there in any case."""
    ca_bundle: str | None = None
