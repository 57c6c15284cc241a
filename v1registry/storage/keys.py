"""The keys of all objects, in the form of docker-registry 0.9.1 (protocol-v1.md section 4).

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
OURS = "_v1registry"  # objects of this registry alone; 0.x never reads them
PUSHES = f"{OURS}/pushes"
LEASES = f"{OURS}/leases"
READ_ONLY = f"{OURS}/readonly"  # the switch of an administrator
GC = f"{OURS}/gc"  # one folder for each garbage collection
VERIFY = f"{OURS}/verify"  # how far `verify` is, and what it has found
DIGESTS = f"{OURS}/digests"
TAG = "tag_"  # begins the file name of a tag
# begins the file name of a reference if the repository name is too long for a file name
HASHED = "@"

_LONGEST = 255  # bytes of a file name
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def encode(component: str) -> str:
    """Encode one path component as 0.8.1 and later do; never return `.` or `..`."""
    if component in (".", ".."):
        component = component.replace(".", "%2E")
    return _encode_once(component)


def decode(component: str) -> str:
    """Undo `encode`."""
    return unquote_plus(component)


def image(image_id: str, part: str) -> str:
    """Return the key of a file or folder of an image: json, layer, ancestry, _checksum and so on."""
    return f"{IMAGES}/{image_id}/{part}"


def repository(namespace: str, name: str) -> str:
    """Return a repository's folder. 0.8.1 and later encode the name twice, so this does as well."""
    return f"{REPOSITORIES}/{encode(namespace)}/{encode(_encode_once(name))}"


def repository_before_081(namespace: str, name: str) -> str:
    """Return a repository's folder as versions up to 0.8.0 wrote it: only the name is encoded, once.

    It differs for nested names, and for names that no version accepts any more. Callers must refuse
    `.` and `..` as namespace or name: these would leave the store.
    """
    return f"{REPOSITORIES}/{namespace}/{_encode_once(name)}"


def _encode_once(name: str) -> str:
    if _PLAIN.fullmatch(name):  # the usual case: quote_plus is slow
        return name
    return quote_plus(name, safe="").replace("~", "%7E")


def repository_name(folder: str) -> str:
    """Return the repository name of a folder name that is encoded once or twice."""
    return decode(decode(folder))


def repository_names(namespace: str, folder: str) -> list[tuple[str, str]]:
    """Return the names, `(namespace, name)`, that the two folders of a repository may stand for.

    The form of 0.8.1 and later comes first. The caller must encode each name and compare it with
    the folder.
    """
    if _PLAIN.fullmatch(namespace) and _PLAIN.fullmatch(folder):
        return [(namespace, folder)]
    once, twice = decode(folder), repository_name(folder)
    return [(decode(namespace), twice), (decode(namespace), once), (namespace, once)]


def tag(name: str) -> str:
    """Return the file name of a tag in its repository's folder."""
    return encode(f"{TAG}{name}")


def tag_metadata(name: str) -> str:
    """Return the file name of a tag's metadata in its repository's folder."""
    return encode(f"tag{name}_json")


def tags(name: str) -> tuple[str, ...]:
    """Return all file names that a tag may have; new files get the first one.

    Versions up to 0.8.0 did not encode tags. Most tags have one file name, because encoding does not
    change them.
    """
    return _with_plain(tag(name), f"{TAG}{name}")


def tags_metadata(name: str) -> tuple[str, ...]:
    """Return all file names that a tag's metadata may have; new files get the first one."""
    return _with_plain(tag_metadata(name), f"tag{name}_json")


def _with_plain(encoded: str, plain: str) -> tuple[str, ...]:
    return (encoded,) if plain == encoded or "/" in plain else (encoded, plain)


def tag_name(file: str) -> str:
    """Return the tag of a file whose name begins with `TAG`; the inverse of `tags`.

    File names that 0.8.1 and later would not write come from 0.8.0 or older and are not encoded.
    """
    plain = file[len(TAG) :]
    if _PLAIN.fullmatch(file):
        return plain
    name = decode(file)[len(TAG) :]
    try:
        return name if tag(name) == file else plain
    except UnicodeEncodeError:  # not UTF-8
        return plain


def index_entry(image_id: str) -> str:
    """Return the file name of one image's entry of the image list, in its repository's folder."""
    return f"_index_entries/{image_id}"


def references(image_id: str) -> str:
    """Return the folder of an image's repository references; 0.x ignores it."""
    return image(image_id, "_repositories")


def reference(image_id: str, repository: str) -> str:
    """Return the key of the reference from an image to a repository, `namespace/name`."""
    name = encode(repository)
    if len(name) > _LONGEST:
        name = f"{HASHED}{hashlib.sha256(repository.encode()).hexdigest()}"
    return f"{references(image_id)}/{name}"


def referenced_repository(name: str) -> str | None:
    """Return the repository in the file name of a reference; None if only its content names it."""
    return None if name.startswith(HASHED) else decode(name)


def pushes(image_id: str) -> str:
    """Return the folder of what running pushes of one image have sent so far."""
    return f"{PUSHES}/{image_id}"


def pushed_json(image_id: str, digest: str) -> str:
    """Return the key of a staged image JSON; `digest` is the hexadecimal SHA-256 of its bytes."""
    return f"{pushes(image_id)}/json-{digest}"


def pushed_refusal(image_id: str, token: str) -> str:
    """Return the key of the note that a staged layer has no TarSum, so it is not read again."""
    return f"{pushes(image_id)}/no-tarsum-{token}"


def pushed_copy(image_id: str, token: str) -> str:
    """Return the key of the facts about one staged layer."""
    return f"{pushes(image_id)}/copy-{token}"


def digests(digest: str) -> tuple[str, str]:
    """Return the folder of a digest's entries and the prefix of their names.

    There are 4096 folders: about 250 names in each for a million images.
    """
    algorithm, _, value = digest.partition(":")
    return f"{DIGESTS}/{algorithm}/{value[:3]}", f"{value}."


def digest(digest: str, kind: str, image_id: str) -> str:
    """Return the key of an image's entry in the digest index."""
    folder, start = digests(digest)
    return f"{folder}/{start}{kind}-{image_id}"


def tag_claims(repository: str, tag: str) -> str:
    """Return the folder of the pushes that want to create an immutable tag just now."""
    return f"{OURS}/tag-claims/{hashlib.sha256(f'{repository}:{tag}'.encode()).hexdigest()}"


def gc_hidden(run: str) -> str:
    """Return the key of the list of images that a garbage collection hid."""
    return f"{GC}/{run}/hidden"


def gc_plan(run: str) -> str:
    """Return the key of what a garbage collection will delete, and when."""
    return f"{GC}/{run}/plan"


def gc_keep(run: str, image_id: str) -> str:
    """Return the key whose existence keeps an image that a garbage collection hid."""
    return f"{GC}/{run}/keep-{image_id}"


def gc_delete(run: str, image_id: str) -> str:
    """Return the key that exists while a garbage collection deletes an image."""
    return f"{GC}/{run}/delete-{image_id}"
