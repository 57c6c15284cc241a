"""Checks that a successful response comes from S3 and is not damaged.

Otherwise the page of a proxy, or a damaged response, would be taken for an empty listing or for a
write that was done.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

_STATUSES = {
    "get_object": (200, 206),
    "delete_object": (200, 204),
    "abort_multipart_upload": (200, 204),
}
_TAGGED = ("get_object", "put_object", "upload_part")  # responses with the object's ETag
_ROOTS = {
    "list_objects": "ListBucketResult",
    "list_objects_v2": "ListBucketResult",
    "list_parts": "ListPartsResult",
    "list_multipart_uploads": "ListMultipartUploadsResult",
    "create_multipart_upload": "InitiateMultipartUploadResult",
    "complete_multipart_upload": "CompleteMultipartUploadResult",
    "delete_objects": "DeleteResult",
    "copy_object": "CopyObjectResult",
    "upload_part_copy": "CopyPartResult",
}


#: root elements of error pages of proxies and stores; such errors may be temporary
_TRANSIENT = ("html", "error")

_FOREIGN = "the response is an element"


def complaint(
    operation: str, status: int, headers: Mapping[str, str], content: bytes | None
) -> str | None:
    """Return what is wrong with a successful response, or None; `content` is None if not read."""
    if status not in _STATUSES.get(operation, (200,)):
        return f"a status of {status}"
    if operation in _TAGGED and "etag" not in headers:
        return "no ETag"
    if operation not in _ROOTS or content is None:
        return None
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, LookupError, ValueError) as error:  # LookupError: unknown encoding
        return f"not XML: {error}"
    return _in(root, _ROOTS[operation])


def _in(root: ET.Element, name: str) -> str | None:
    found = root.tag.rpartition("}")[2]
    if found != name:
        return f"{_FOREIGN} {found} in place of {name}"
    if (more := root.findtext("{*}IsTruncated")) not in (None, "true", "false"):
        return f"IsTruncated {more}"
    items = (root.find("{*}Contents"), root.find("{*}CommonPrefixes"))
    if root.findtext("{*}KeyCount", "0") != "0" and items == (None, None):
        return "a KeyCount without keys"
    return None


def is_foreign(wrong: str) -> bool:
    """Return whether a `complaint` shows that the server is not S3, so that a retry is useless.

    Error pages of proxies and of the store may be temporary. Damage does not produce valid XML with
    another root element.
    """
    name = wrong.removeprefix(f"{_FOREIGN} ").partition(" ")[0]
    return wrong.startswith(_FOREIGN) and name.lower() not in _TRANSIENT


def foreign(operation: str, wrong: str) -> str:
    """Return the error message for a server that is not S3."""
    return f"{operation}: {wrong}: this server does not speak S3 as documented; use another one"
