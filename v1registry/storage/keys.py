"""Where everything lies: keys in the form of docker-registry 0.9.1 (protocol-v1.md section 4).

Pure functions from valid names to keys. A component is percent-encoded as
Python 2's `quote_plus` did it: letters, digits and `_ . -` stay, a space
becomes `+`, all else `%XX`, `~` included, which Python 3 would leave.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote_plus, unquote_plus

IMAGES = "images"
REPOSITORIES = "repositories"
OURS = "_v1registry"  # facts about many things; 0.x never looks here
PUSHES = f"{OURS}/pushes"
TAG = "tag_"  # begins the file name of a tag
HASHED = "@"  # begins the file name of a claim whose repository's name is too long for one

_LONGEST = 255  # bytes of a file name
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def encode(component: str) -> str:
    """Encode one path component as 0.8.1 and later do; `.` and `..` cannot come out."""
    if component in (".", ".."):
        component = component.replace(".", "%2E")
    return _encode_once(component)


def decode(component: str) -> str:
    """Undo `encode`."""
    return unquote_plus(component)


def image(image_id: str, part: str) -> str:
    """`part` is json, layer, ancestry, _checksum, another file with an underscore, or a folder."""
    return f"{IMAGES}/{image_id}/{part}"


def repository(namespace: str, name: str) -> str:
    """The folder of a repository. 0.x encodes the name when it parses it, and 0.8.1+ again here."""
    return f"{REPOSITORIES}/{encode(namespace)}/{encode(_encode_once(name))}"


def repository_before_081(namespace: str, name: str) -> str:
    """The folder as versions up to 0.8.0 wrote it: only the name is encoded, once.

    It differs for nested names, and for names that no version accepts any more. It leaves the store
    for a namespace or a name of `.` or `..`, which callers must refuse.
    """
    return f"{REPOSITORIES}/{namespace}/{_encode_once(name)}"


def _encode_once(name: str) -> str:
    if _PLAIN.fullmatch(name):  # nearly all are, and quote_plus is slow
        return name
    return quote_plus(name, safe="").replace("~", "%7E")


def repository_name(folder: str) -> str:
    """The name that a repository's folder stands for, encoded once or twice."""
    return decode(decode(folder))


def repository_names(namespace: str, folder: str) -> list[tuple[str, str]]:
    """Return the names, `(namespace, name)`, that the two folders of a repository may stand for.

    The form of 0.8.1 and later comes first. The caller must encode a name to see whether it fits.
    """
    if _PLAIN.fullmatch(namespace) and _PLAIN.fullmatch(folder):
        return [(namespace, folder)]
    once, twice = decode(folder), repository_name(folder)
    return [(decode(namespace), twice), (decode(namespace), once), (namespace, once)]


def tag(name: str) -> str:
    """File name of a tag, below its repository's folder."""
    return encode(f"{TAG}{name}")


def tag_metadata(name: str) -> str:
    """File name of a tag's metadata, below its repository's folder."""
    return encode(f"tag{name}_json")


def tags(name: str) -> tuple[str, ...]:
    """All file names that a tag may have, the one that is written first.

    Versions up to 0.8.0 did not encode tags. A tag that no version encodes differently has one.
    """
    return _with_plain(tag(name), f"{TAG}{name}")


def tags_metadata(name: str) -> tuple[str, ...]:
    """All file names that the metadata of a tag may have, the one that is written first."""
    return _with_plain(tag_metadata(name), f"tag{name}_json")


def _with_plain(encoded: str, plain: str) -> tuple[str, ...]:
    return (encoded,) if plain == encoded or "/" in plain else (encoded, plain)


def tag_name(file: str) -> str:
    """Return the tag that a file belongs to whose name begins with `TAG`; undoes `tags`.

    A name that 0.8.1 and later would not write was written by 0.8.0 or older, and is not encoded.
    """
    plain = file[len(TAG) :]
    if _PLAIN.fullmatch(file):
        return plain
    name = decode(file)[len(TAG) :]
    try:
        return name if tag(name) == file else plain
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return plain


def index_entry(image_id: str) -> str:
    """File name of one image's entry beside the image list, below its repository's folder."""
    return f"_index_entries/{image_id}"


def claims(image_id: str) -> str:
    """The folder that says which repositories reach an image; 0.x ignores it."""
    return image(image_id, "_repositories")


def claim(image_id: str, repository: str) -> str:
    """What says that a repository, `namespace/name`, reaches an image."""
    name = encode(repository)
    if len(name) > _LONGEST:
        name = f"{HASHED}{hashlib.sha256(repository.encode()).hexdigest()}"
    return f"{claims(image_id)}/{name}"


def claiming(name: str) -> str | None:
    """The repository that a claim's file name says; None if only its content does."""
    return None if name.startswith(HASHED) else decode(name)


def pushes(image_id: str) -> str:
    """The folder of what running pushes of one image have sent so far."""
    return f"{PUSHES}/{image_id}"


def pushed_json(image_id: str, digest: str) -> str:
    """A staged image JSON; `digest` is the hex SHA-256 of its bytes."""
    return f"{pushes(image_id)}/json-{digest}"


def pushed_refusal(image_id: str, token: str) -> str:
    """The note that a received copy has no TarSum, so that it is not read for one again."""
    return f"{pushes(image_id)}/no-tarsum-{token}"


def pushed_copy(image_id: str, token: str) -> str:
    """What is known of one received copy of the layer."""
    return f"{pushes(image_id)}/copy-{token}"


def digests(digest: str) -> tuple[str, str]:
    """The folder of a digest's entries, and what their names begin with.

    4096 folders: some 250 names in each for a million images.
    """
    algorithm, _, value = digest.partition(":")
    return f"{OURS}/digests/{algorithm}/{value[:3]}", f"{value}."


def digest(digest: str, kind: str, image_id: str) -> str:
    """An image's entry under a digest."""
    folder, start = digests(digest)
    return f"{folder}/{start}{kind}-{image_id}"
