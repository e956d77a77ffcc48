"""What a bucket answers when it does not do as it is told, in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from dbguard.errors import NotFound, StorageError, StorageUnavailable

FAILURES = (ClientError, BotoCoreError, ResponseParserError, HTTPError)
"""All that a client raises. botocore lets the last two through: an answer of STS that is no XML, a reason cut off."""
_MISSING = {"NoSuchKey", "NoSuchUpload", "404"}
_REFUSED = {
    "400": "its answer has no reason; have the credentials expired? is the region right?",
    "403": "its answer has no reason; is the bucket's name right, may this account read it, is this clock right?",
    "AccessDenied": "the account may not do this: the docs list the permissions a writer and a pruner need",
    "AllAccessDisabled": "the store has closed this bucket",
    "ExpiredToken": "the credentials have expired",
    "InvalidAccessKeyId": "the store does not know this access key",
    "SignatureDoesNotMatch": "is the secret key right, and the region?",
    "RequestTimeTooSkewed": "the clock of this machine differs from the store's: is it set?",
    "NoSuchBucket": "create the bucket first; dbguard never does",
    "PermanentRedirect": "the bucket is in another region: set region",
    "AuthorizationHeaderMalformed": "is the region right?",
    "InvalidObjectState": "it is in an archive tier and must be restored there first",
}
"""Answers that no second try changes, with what to do."""


@contextlib.contextmanager
def translated(what: str, *, bucket: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise translation(what, bucket, error) from error
    except NoCredentialsError as error:
        raise StorageUnavailable(
            f"{what}: no credentials for bucket {bucket}",
            hint="set access_key_id and secret_access_key_file, a profile, or AWS_ACCESS_KEY_ID",
        ) from error
    except SSLError as error:
        raise StorageUnavailable(
            f"{what}: {error}", hint="is the store's certificate valid, and its authority the system's or in ca_bundle?"
        ) from error
    except ResponseParserError as error:
        raise no_store(what) from error
    except (BotoCoreError, HTTPError) as error:
        raise StorageUnavailable(f"{what}: {error}", hint="does the store answer from here?") from error


def no_store(what: str) -> StorageUnavailable:
    """A web page, for one, is no answer of a store, and no empty list either."""
    return StorageUnavailable(
        f"{what}: what answers there does not speak S3", hint="is endpoint_url right, also its port?"
    )


def translation(what: str, bucket: str, error: ClientError) -> StorageError | NotFound:
    name, status = code(error), _status(error)
    if name in _MISSING:
        return NotFound(f"{what}: not found")
    said = error.response.get("Error", {}).get("Message") or name
    if name in _REFUSED:
        return StorageUnavailable(f"{what}: bucket {bucket}: {name}: {said}", hint=_REFUSED[name])
    if is_unknown(error):
        return StorageError(f"{what}: the store cannot do this: {name}: {said}")
    if status >= 500 or name in {"SlowDown", "RequestTimeout"}:
        return StorageUnavailable(f"{what}: the store answers {name}: {said}", hint="it was asked several times")
    return StorageError(f"{what}: the store refused it: {name}: {said}")


def code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_conflict(error: ClientError) -> bool:
    """The key is taken, or another writer is at it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    return code(error) in {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


def is_unknown_condition(error: ClientError) -> bool:
    """The store does not know conditional writes, and says so."""
    return is_unknown(error) or (_status(error) == 400 and "If-None-Match" in str(error))


def is_unknown(error: ClientError) -> bool:
    """The store does not have this operation, or one of the request's headers means nothing to it."""
    return code(error) in {"NotImplemented", "501"}
