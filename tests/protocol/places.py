"""Where a registry under test keeps its objects, one class a store: for test_object_stores.py.

A store joins the suite by a class here and its name in PLACES.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.backends.ceph import Ceph
from tests.backends.fakegcs import FakeGcs
from tests.backends.fakegcsxml import FakeGcsXml
from tests.backends.glance import Glance
from tests.backends.proxy import Proxy
from tests.backends.swift import PASSWORD, TEMP_URL_KEY, USER, Swift
from tests.live_server import Server
from v1registry.storage.loading import load


class Place(ABC):
    """A part of a real store that one test has for itself; and a way into it past the registry.

    `backend` is the fixture of its server, which is what the class is made with; `port` is where
    that listens. Keys here are those of the storage contract, without the place's own root.
    """

    backend: ClassVar[str]
    #: whether `make test-heavy` alone runs the suite on it
    heavy: ClassVar[bool] = False
    #: what `images/ID` holds of a finished image whose files were listed
    parts: ClassVar[set[str]] = {"json", "layer", "ancestry", "_checksum", "_commit", "_files"}
    #: whether `storage_redirect` does something here
    redirects: ClassVar[bool] = True
    #: whether the server takes another upload while one stands still
    parallel: ClassVar[bool] = True

    port: int

    def __init__(self) -> None:
        self.root = secrets.token_hex(8)

    def server(self, folder: Path, **more: str) -> Server:
        return Server(folder / "unused", env={**self.environ(), **more})

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """Return variables for a registry with this store, prepared for redirects."""

    @abstractmethod
    def behind(self, proxy: Proxy) -> dict[str, str]:
        """Return further variables: use the store through `proxy`, with short timeouts."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store an object as 0.x does."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object by hand."""

    @abstractmethod
    def names(self, below: str = "") -> list[str]:
        """Return all keys with this prefix, as other programs see them."""

    @abstractmethod
    def staged(self) -> list[str]:
        """Keys of the layers that are staged."""

    @abstractmethod
    def leave_upload(self, key: str) -> None:
        """Leave an unfinished upload, as a killed worker does."""

    @abstractmethod
    def limited(self) -> Place:
        """A place whose quota can be used up, by `fill`."""

    @abstractmethod
    def fill(self) -> None:
        """Use up the quota."""

    @abstractmethod
    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        """Return variables with which the registry must not start, and its error message."""


class S3Place(Place):
    """A part of a bucket of Ceph's."""

    backend = "ceph"

    def __init__(self, ceph: Ceph) -> None:
        super().__init__()
        self.ceph = ceph
        self.port = ceph.port
        self.bucket = "registry"
        self._access: tuple[str, ...] = ()  # the administrator's

    @property
    def client(self) -> Any:
        return self.ceph.client(*self._access)

    def environ(self) -> dict[str, str]:
        own = dict(zip(("AWS_KEY", "AWS_SECRET"), self._access, strict=False))
        return self.ceph.environ(STORAGE_PATH=f"/{self.root}", AWS_BUCKET=self.bucket, **own)

    def behind(self, proxy: Proxy) -> dict[str, str]:
        return {"AWS_PORT": str(proxy.port), "AWS_READ_TIMEOUT": "1"}

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.root}/{key}", Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.root}/{key}")

    def names(self, below: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=f"{self.root}/{below}")
        keys = [item["Key"] for page in found for item in page.get("Contents", ())]
        return [key.removeprefix(f"{self.root}/") for key in keys]

    def staged(self) -> list[str]:
        answer = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.root)
        keys = [upload["Key"] for upload in answer.get("Uploads", [])]
        return [key.removeprefix(f"{self.root}/") for key in keys]

    def leave_upload(self, key: str) -> None:
        where = {"Bucket": self.bucket, "Key": f"{self.root}/{key}"}
        upload = self.client.create_multipart_upload(**where)["UploadId"]
        self.client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")

    def _another(self) -> S3Place:
        return S3Place(self.ceph)

    def limited(self) -> S3Place:
        other = self._another()
        other._access = (other.root, other.root)
        other.bucket = other.root
        access, secret = (f"--{word}={other.root}" for word in ("access-key", "secret"))
        self.ceph.admin("user", "create", f"--uid={other.root}", "--display-name=f", access, secret)
        other.client.create_bucket(Bucket=other.bucket)
        return other

    def fill(self) -> None:
        user = ("--quota-scope=user", f"--uid={self.root}")
        self.ceph.admin("quota", "set", *user, "--max-size=4096")
        self.ceph.admin("quota", "enable", *user)

    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        return [
            ({"AWS_SECRET": "wrong"}, "SignatureDoesNotMatch"),
            ({"AWS_BUCKET": "none"}, "boto_bucket names a bucket that does not exist"),
        ]


class GlancePlace(Place):
    """An account of Glance, with a folder of local files beside it."""

    backend = "glance"
    parts = Place.parts | {"_glance"}
    redirects = False
    parallel = False  # one thread serves

    def __init__(self, glance: Glance) -> None:
        super().__init__()
        self.glance = glance
        self.port = glance.port
        self.account = glance.account()
        self.folder = glance.folder / "rest" / self.root
        self._old: dict[str, str] = {}  # v1 id -> id in Glance

    def environ(self) -> dict[str, str]:
        return self.account.environ(self.folder)

    def behind(self, proxy: Proxy) -> dict[str, str]:
        url = f"http://127.0.0.1:{proxy.port}"
        return {"OS_GLANCE_URL": url, "GLANCE_READ_TIMEOUT": "2"}  # it is no quick server

    def put(self, key: str, data: bytes) -> None:
        image_id, part = _of_image(key)
        if part in ("", "_files"):
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return
        if image_id not in self._old:
            self._old[image_id] = self.account.make_old(image_id)
        if part == "layer":
            self.account.send(self._old[image_id], data)
        else:
            self.account.change(self._old[image_id], **{f"meta_{part}": data.decode()})

    def remove(self, key: str) -> None:
        image_id, part = _of_image(key)
        if part == "layer":
            for image in self.account.images(docker_image_id=image_id):
                self.account.call("DELETE", f"/images/{image['id']}")
        else:
            (self.folder / key).unlink()

    def names(self, below: str = "") -> list[str]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        found = [str(path.relative_to(self.folder)) for path in files]
        old = {glance: image_id for image_id, glance in self._old.items()}
        for image in self.account.images():
            image_id = image.get("docker_image_id") or old.get(image["id"])
            if image_id and image["status"] == "active":
                found.append(f"images/{image_id}/layer")
            if image["id"] in old:
                parts = [name[5:] for name in image if name.startswith("meta_")]
                found += [f"images/{image_id}/{part}" for part in parts]
        return sorted(name for name in found if name.startswith(below))

    def staged(self) -> list[str]:
        notes = list((self.folder / "_v1registry" / "glance" / "stages").glob("*"))
        if notes:  # meanwhile Glance may be busy with the upload: one thread serves
            return [note.read_text() for note in notes]
        return [image["id"] for image in self.account.images() if "meta_json" not in image]

    def leave_upload(self, key: str) -> None:
        note = self.folder / "_v1registry" / "glance" / "stages" / self.account.make(b"x")
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(key)

    def limited(self) -> GlancePlace:
        return type(self)(self.glance)

    def fill(self) -> None:
        self.account.fill()

    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        return [
            ({"OS_PASSWORD": "wrong"}, "wrong password"),
            ({"OS_GLANCE_URL": f"{self.glance.url}/nowhere"}, "300 Multiple Choices"),
        ]


class OldGlancePlace(GlancePlace):
    """The same, in an older one."""

    backend = "old_glance"
    heavy = True
    parallel = True


def _of_image(key: str) -> tuple[str, str]:
    parts = key.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "images" else ("", "")


class SwiftPlace(Place):
    """A part of a container of Swift's."""

    backend = "swift"

    def __init__(self, swift: Swift) -> None:
        super().__init__()
        self.swift = swift
        self.port = swift.port
        self.container = "registry"
        self.client = swift.client()

    def environ(self) -> dict[str, str]:
        return self.swift.environ(
            STORAGE_PATH=f"/{self.root}",
            OS_CONTAINER=self.container,
            SWIFT_TEMP_URL_KEY=TEMP_URL_KEY,
        )

    def behind(self, proxy: Proxy) -> dict[str, str]:
        # the address of the account, which authentication gives, is made of what was asked
        url = self.swift.authurl.replace(str(self.port), str(proxy.port))
        return {"OS_AUTH_URL": url, "SWIFT_READ_TIMEOUT": "1"}

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(self.container, f"{self.root}/{key}", data)

    def remove(self, key: str) -> None:
        self.client.delete_object(self.container, f"{self.root}/{key}")

    def names(self, below: str = "") -> list[str]:
        _, items = self.client.get_container(
            self.container, prefix=f"{self.root}/{below}", full_listing=True
        )
        return [item["name"].removeprefix(f"{self.root}/") for item in items]

    def staged(self) -> list[str]:
        return [name.split("/", 3)[3] for name in self.names("_v1registry/uploads/")]

    def leave_upload(self, key: str) -> None:
        self.put(f"_v1registry/uploads/0123/{key}", b"")
        self.put(f"_v1registry/segments/{key}/0123/00000001", b"x")

    def limited(self) -> SwiftPlace:
        other = SwiftPlace(self.swift)
        other.container = other.root
        self.client.put_container(other.container)
        return other

    def fill(self) -> None:
        self.client.post_container(self.container, {"X-Container-Meta-Quota-Bytes": "1"})

    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        return [
            ({"OS_PASSWORD": "wrong"}, "swift_user or swift_password is wrong"),
            ({"OS_CONTAINER": "none"}, "swift_container names a container that does not exist"),
            ({"OS_USERNAME": "test:guest", "OS_PASSWORD": "guest"}, "swift_user may not do this"),
            ({"OS_AUTH_URL": "swift.example"}, "swift_authurl: must be a URL"),
            ({"OS_IDENTITY_API_VERSION": "3"}, "swift_tenant_name: must be set"),
        ]


class GcsHmacPlace(S3Place):
    """The same, behind a fake of Google's XML API: see fakegcsxml.py."""

    backend = "fake_gcs_xml"
    heavy = True  # most of it is the driver for S3

    def __init__(self, front: FakeGcsXml) -> None:
        super().__init__(front.ceph)
        self.front = front
        self.port = front.port

    def environ(self) -> dict[str, str]:
        own = dict(zip(("GCS_KEY", "GCS_SECRET"), self._access, strict=False))
        if self._access:
            self.front.admit(*self._access)
        return self.front.environ(STORAGE_PATH=f"/{self.root}", GCS_BUCKET=self.bucket, **own)

    def behind(self, proxy: Proxy) -> dict[str, str]:
        return {"GCS_ENDPOINT": f"http://127.0.0.1:{proxy.port}", "GCS_READ_TIMEOUT": "1"}

    def _another(self) -> GcsHmacPlace:
        return GcsHmacPlace(self.front)

    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        return [
            ({"GCS_SECRET": "wrong"}, "SignatureDoesNotMatch"),
            ({"GCS_SECRET": ""}, "gs_access_key and gs_secret_key belong together"),
            ({"GCS_CREDENTIALS": "/none"}, "either gcs_credentials or gs_access_key"),
            ({"GCS_BUCKET": "none"}, "boto_bucket names a bucket that does not exist"),
        ]


class GcsPlace(Place):
    """A part of the bucket of a fake: see fakegcs.py."""

    backend = "fake_gcs"
    heavy = True  # every day: the driver's tests, the contract, and a registry on the emulator

    def __init__(self, fake: FakeGcs) -> None:
        super().__init__()
        self.fake = fake
        self.port = fake.port

    def environ(self) -> dict[str, str]:
        return self.fake.environ(STORAGE_PATH=f"/{self.root}")

    def behind(self, proxy: Proxy) -> dict[str, str]:
        return {"GCS_ENDPOINT": f"http://127.0.0.1:{proxy.port}", "GCS_READ_TIMEOUT": "1"}

    def put(self, key: str, data: bytes) -> None:
        self.fake.store(f"{self.root}/{key}", data, {})

    def remove(self, key: str) -> None:
        del self.fake.objects[f"{self.root}/{key}"]

    def names(self, below: str = "") -> list[str]:
        found = self.fake.names(f"{self.root}/{below}")
        return [name.removeprefix(f"{self.root}/") for name in found]

    def staged(self) -> list[str]:
        begin = f"{self.root}/_v1registry/uploads/"
        running = [one.name for one in self.fake.sessions.values() if one.done is None]
        names = [*self.fake.names(begin), *(name for name in running if name.startswith(begin))]
        return [name.removeprefix(begin).partition("/")[2] for name in names]

    def leave_upload(self, key: str) -> None:
        self.put(f"_v1registry/uploads/{secrets.token_hex(12)}/{key}", b"x")

    def limited(self) -> GcsPlace:
        return GcsPlace(self.fake)

    def fill(self) -> None:
        self.fake.quotas[self.root] = 4096

    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        return [
            ({"GCS_CREDENTIALS": "/none"}, "no credentials: .*/none"),
            ({"GCS_CREDENTIALS": "anonymous"}, "Anonymous credentials cannot be refreshed"),
            ({"GCS_BUCKET": "none"}, "boto_bucket names a bucket that does not exist"),
        ]


class SwiftS3Place(SwiftPlace):
    """A part of a container of Swift's, by its S3 API: a second S3 server, which creates loosely."""

    heavy = True

    def environ(self) -> dict[str, str]:
        return {
            "SETTINGS_FLAVOR": "ceph-s3",
            "STORAGE_PATH": f"/{self.root}",
            "AWS_BUCKET": self.container,
            "AWS_HOST": "127.0.0.1",
            "AWS_PORT": str(self.port),
            "AWS_KEY": USER,
            "AWS_SECRET": PASSWORD,
            "AWS_CONDITIONAL_WRITES": "false",
        }

    def behind(self, proxy: Proxy) -> dict[str, str]:
        return {"AWS_PORT": str(proxy.port), "AWS_READ_TIMEOUT": "1"}

    def staged(self) -> list[str]:
        # What was committed lies there as well, so our driver tells; and what is coming in.
        root = {"storage_path": f"/{self.root}", "boto_bucket": self.container}
        storage = load(self.swift.s3_options(**root), None)
        running = (upload.key for upload in storage._uploads("_v1registry/uploads"))
        return [stage.key for stage in storage.stages()] + [key.split("/", 3)[3] for key in running]

    def leave_upload(self, key: str) -> None:
        self.put(f"_v1registry/uploads/0123/{key}", b"x")

    def limited(self) -> SwiftS3Place:
        other = SwiftS3Place(self.swift)
        other.container = other.root
        self.client.put_container(other.container)
        return other

    def wrong(self) -> list[tuple[Mapping[str, str], str]]:
        return [
            ({"AWS_SECRET": "wrong"}, "SignatureDoesNotMatch"),
            ({"AWS_BUCKET": "none"}, "boto_bucket names a bucket that does not exist"),
        ]


PLACES: Mapping[str, type[Any]] = {
    "s3": S3Place,
    "s3-of-swift": SwiftS3Place,
    "swift": SwiftPlace,
    "gcs": GcsPlace,
    "gcs-hmac": GcsHmacPlace,
    "glance": GlancePlace,
    "glance-25": OldGlancePlace,
}
