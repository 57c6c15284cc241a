"""What a success of S3's must look like: else a page of some proxy's, or an answer that was damaged
on its way, would be taken for an empty listing, or for a write that was done.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

_STATUSES = {
    "get_object": (200, 206),
    "delete_object": (200, 204),
    "abort_multipart_upload": (200, 204),
}
_TAGGED = ("get_object", "put_object", "upload_part")  # tell the object's ETag
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


#: what passes in front of a store say, or a store that is in trouble, instead of an answer
_PASSING = ("html", "error")

_FOREIGN = "the answer is an element"


def complaint(
    operation: str, status: int, headers: Mapping[str, str], content: bytes | None
) -> str | None:
    """What is wrong with an answer that tells of no error; `content` is None if it is not read."""
    if status not in _STATUSES.get(operation, (200,)):
        return f"a status of {status}"
    if operation in _TAGGED and "etag" not in headers:
        return "no ETag"
    if operation not in _ROOTS or content is None:
        return None
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, LookupError, ValueError) as error:  # of the encoding's name, too
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
        return "none of the keys that it counts"
    return None


def is_foreign(wrong: str) -> bool:
    """Whether a `complaint` is about another program's answer, which no repetition makes S3's.

    Pages of proxies and errors of the store pass; damage makes no XML with another root element.
    """
    name = wrong.removeprefix(f"{_FOREIGN} ").partition(" ")[0]
    return wrong.startswith(_FOREIGN) and name.lower() not in _PASSING


def foreign(operation: str, wrong: str) -> str:
    """Say it for people."""
    return f"{operation}: {wrong}: this server does not speak S3 as documented; use another one"
