"""Errors in the form that v2 clients expect: a status, and a list with an OCI error code and a text."""

from __future__ import annotations

from flask import Response

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure, Text

VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")

# Failures with an error code of their own. All others get the code of their status.
_CODES: dict[Text, str] = {
    errors.REPOSITORY_NAME_INVALID: "NAME_INVALID",
    errors.REPOSITORY_NOT_FOUND: "NAME_UNKNOWN",
    errors.TAG_NOT_FOUND: "MANIFEST_UNKNOWN",
    errors.MANIFEST_UNKNOWN: "MANIFEST_UNKNOWN",
    errors.BLOB_UNKNOWN: "BLOB_UNKNOWN",
    errors.IMAGE_NOT_FOUND: "BLOB_UNKNOWN",
    errors.DIGEST_INVALID: "DIGEST_INVALID",
}
_OF_STATUS = {
    400: "UNSUPPORTED",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    405: "UNSUPPORTED",
    416: "RANGE_INVALID",
    429: "TOOMANYREQUESTS",
}


class OciFailure(Failure):
    """A failure with its OCI error code."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(status, text)
        self.code = code


def answer(failure: Failure) -> Response:
    """Return the response to a v2 client. No cache keeps it: the object may exist soon."""
    if isinstance(failure, OciFailure):
        code = failure.code
    else:
        of_status = _OF_STATUS.get(failure.status, "UNKNOWN")
        code = _CODES.get((failure.status, failure.text), of_status)
    body = documents.dump({"errors": [{"code": code, "message": failure.text, "detail": None}]})
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), VERSION]
    return Response(body, failure.status, [*headers, *failure.headers.items()])
