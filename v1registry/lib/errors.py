"""Errors as values: a status and a text, raised anywhere and turned into an answer in one place.

All literal texts of the protocol (protocol-v1.md sections 1 to 3) are in this module only: engines
compare some of them byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping

from v1registry.storage import readonly

Text = tuple[int, str]


class Failure(Exception):
    """An error answer: HTTP status, text for `{"error": text}`, and additional headers."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})


UNAUTHORIZED: Text = (401, "Requires authorization")
FORBIDDEN: Text = (403, "Access denied")
TOO_MANY_CONNECTIONS: Text = (429, "Too many connections from this address, retry later")
TOO_MANY_TRIES: Text = (429, "Too many wrong passwords, wait a minute")
ACCOUNTS_UNAVAILABLE: Text = (503, "The accounts cannot be looked up now, retry later")
RIGHTS_UNAVAILABLE: Text = (503, "The index cannot check access rights now, retry later")
NO_ADMINISTRATORS: Text = (
    403,
    "This registry has no administrators over HTTP: use the command {}, or see the option admins",
)
ACCOUNTS_ELSEWHERE: Text = (403, "An administrator of this registry manages the accounts")

# Engines compare this text and treat the image as pushed.
IMAGE_EXISTS: Text = (409, "Image already exists")

IMAGE_ID_INVALID: Text = (404, "Invalid image ID")
IMAGE_NOT_FOUND: Text = (404, "Image not found")
IMAGE_IN_PROGRESS: Text = (400, "Image is being uploaded, retry later")
IMAGE_BEING_DELETED: Text = (503, "The image is being deleted just now, retry later")
IMAGE_LOST: Text = (500, "The image's data is gone from the store, push it again")

JSON_INVALID: Text = (400, "Invalid JSON")
JSON_WITHOUT_ID: Text = (400, "Missing key `id' in JSON")
JSON_OTHER_ID: Text = (400, "JSON data contains invalid id")
IMAGE_NOT_IN_REPOSITORY: Text = (400, "This image does not belong to the repository")
PARENT_UNAUTHORIZED: Text = (400, "Image depends on an unauthorized parent")
PARENT_NOT_FOUND: Text = (400, "Image depends on a non existing parent")

CHECKSUM_ABSENT: Text = (
    412,
    "X-Docker-Checksum-Payload not set.  If you are using the Docker daemon,"
    " you should upgrade to version 0.10 or later",
)
CHECKSUM_EMPTY: Text = (400, "Missing Image's checksum")
CHECKSUM_CLOSED: Text = (409, "Cannot set this image checksum")
CHECKSUM_MISMATCH: Text = (400, "Checksum mismatch")
LAYER_MISSING: Text = (400, "The image's layer has not been sent yet")

LAYER_FORMAT: Text = (400, "Layer format not supported")
LAYER_TOO_LARGE: Text = (400, "The layer contains more than this registry can list")

TOO_MANY_LISTINGS: Text = (503, "Too many layers are being read now, retry later")

INDEX_JSON_INVALID: Text = (400, "Error Decoding JSON")
TEXT_INVALID: Text = (400, "Text must not contain NUL characters or lone surrogates")
JSON_REQUIRED: Text = (415, "Send the body as JSON, with Content-Type: application/json")
DATA_INVALID: Text = (400, "Invalid data")
IMAGES_NOT_FOUND: Text = (404, "images not found")

REPOSITORY_NOT_FOUND: Text = (404, "Repository not found")
REPOSITORY_DELETED: Text = (404, "The repository was deleted during this push, push it again")
REPOSITORY_EXISTS: Text = (409, "A repository of this name exists already")
REPOSITORY_NAME_INVALID: Text = (400, "Invalid repository name")
TAG_NOT_FOUND: Text = (404, "Tag not found")
TAG_NAME_INVALID: Text = (400, r"Invalid tag name (must match ^[\w][\w.-]{0,127}$)")
TAG_IMMUTABLE: Text = (
    409,
    "The tag {tag} is immutable by the rule {rule} of immutable_tags: it keeps its image."
    " Push another tag, or ask an administrator",
)
TAG_CLAIMED: Text = (
    409,
    "Another push creates the tag {tag} just now, which is immutable by the rule {rule} of"
    " immutable_tags: push it again if it is missing",
)
IMMUTABLE_OLD_ENGINE: Text = (
    409,
    "The tag {tag} is immutable by the rule {rule} of immutable_tags, but this push would set it to"
    " several images in turn, as Docker up to 0.7 does: push it with Docker 0.8 or later",
)

# Docker up to 1.10 registers with every login, and continues to log in if it gets this text.
ACCOUNT_EXISTS: Text = (400, "Username or email already exists")
ACCOUNT_NAME_INVALID: Text = (
    400,
    "A user name has 2 to 64 characters of a-z, 0-9, dot, dash and underscore, and begins with a"
    " letter or digit",
)
ACCOUNT_DISABLED: Text = (403, "The account is not active")
SECRET_NO_PASSWORD: Text = (403, "Changing the account requires its password, not a secret")
EMAIL_INVALID: Text = (400, "The e-mail address is not valid")
EMAIL_EXISTS: Text = ACCOUNT_EXISTS
INVITATION_WRONG: Text = (403, "Registration needs a valid invitation")
INVITATION_GONE: Text = (404, "There is no such invitation: it is used, revoked or expired")
ACCOUNT_CHANGED: Text = (
    409,
    "Another administrator has changed the account in the meantime, so nothing was done: look at it"
    " again",
)
LAST_ADMINISTRATOR: Text = (
    400,
    "This is the only active administrator: make another account an administrator first",
)
LOGIN_WRONG: Text = (401, "Wrong user name or password")
NAMESPACE_EXISTS: Text = (400, "The namespace of this name is in use already")
NAMESPACE_NAME_INVALID: Text = (400, "Invalid namespace name")
INDEX_DAMAGED: Text = (
    503,
    "The index's database is damaged, an administrator must restore it from a backup",
)
INDEX_UNAVAILABLE: Text = (503, "The index does not answer, retry later")

DIGEST_INVALID: Text = (400, "Invalid digest (must be sha256: and 64 lowercase hex digits)")
MANIFEST_UNKNOWN: Text = (404, "No such manifest in this repository")
BLOB_UNKNOWN: Text = (404, "No such blob in this repository")

BODY_TOO_LARGE: Text = (413, "The request's body is larger than this registry allows")
BODY_CUT: Text = (400, "The request's body ended too early")
STORE_FULL: Text = (507, "The store is full")
STORE_REFUSED: Text = (500, "The store refused")
STORE_UNAVAILABLE: Text = (503, "The store does not answer, retry later")
NAMES_UNREAD: Text = (503, "The names of the repositories are being read, retry later")
ANSWERS_BUSY: Text = (
    503,
    "Too many large answers wait for slow clients: retry later, or ask for pages with n and page",
)
READ_ONLY: Text = (503, readonly.TEXT)


def with_cause(error: BaseException) -> str:
    """Return an error and its cause in one line, for administrators only, not for clients."""
    cause = error.__cause__
    if cause is None:
        return str(error)
    return f"{error}: {' '.join(str(getattr(cause, 'orig', None) or cause).split())}"
