"""A registry that looks like one in use, for screenshots: pushes, stars, comments, descriptions."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server
from tests.protocol.engine import Image, image_id
from tests.rights.accounts import Client, basic
from v1registry.index import schema
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.social import Social
from v1registry.lib.names import RepositoryName

DAY = 86400
_AGENT = "docker/1.6.2 go/go1.4.2 kernel/3.16 os/linux arch/amd64"

#: repository -> tags, size of the layers above the base in kB, short description
REPOSITORIES = {
    "library/debian": (["wheezy", "jessie", "latest"], 0, "Debian as engines of 2015 know it"),
    "library/busybox": (["1.22", "latest"], 40, "The small tools in one file"),
    "team/billing": (
        ["1.8.0", "1.9.0", "1.9.1", "1.10.0", "1.10.1", "latest"],
        2300,
        "Invoices and payments of the shop",
    ),
    "team/billing-worker": (["1.10.1", "latest"], 900, "Sends invoices at night"),
    "team/shop": (["2014-11", "2015-02", "latest"], 5200, "The web shop, one process"),
    "tools/backup": (["3", "latest"], 120, ""),
    "tools/ci-agent": (["wheezy", "jessie"], 6400, "Builds everything else"),
    "alice/experiments": (["latest"], 64, "Nothing to see here"),
}
ABOUT = """The service that writes **invoices**. It needs a database and a queue:

```
docker run -d --link db:db -e QUEUE=redis:6379 registry.example/team/billing
```

| Variable | Meaning |
|---|---|
| `QUEUE` | host and port of Redis |
| `VAT` | the rate in percent |

## Releases

- `1.10` runs on Debian jessie
- `1.9` was the last one for wheezy, see [the notes](https://example.org/notes)
"""


def image(word: str, parent: Image | None, kilobytes: int, created: str, command: str) -> Image:
    """Return an image with a layer of this size, and with the members that engines write."""
    data = random.Random(word).randbytes(kilobytes * 1000)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in {f"srv/{word}/data": data, f"etc/{word}.conf": b"on\n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1420000000
            archive.addfile(entry, io.BytesIO(content))
    config = {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"],
        "Cmd": ["/srv/run", "--serve"],
        "ExposedPorts": {"8080/tcp": {}},
        "Volumes": {"/var/lib/data": {}},
        "Labels": {"org.example.team": "billing"},
        "User": "www-data",
        "WorkingDir": "/srv",
    }
    document = {
        "id": image_id(word),
        "created": created,
        "container_config": {"Cmd": ["/bin/sh", "-c", command]},
        "docker_version": "1.6.2",
        "author": "Ann <ann@example.org>",
        "config": config,
        "architecture": "amd64",
        "os": "linux",
        "Size": kilobytes * 1000,
    }
    if parent is not None:
        document["parent"] = parent.id
    ancestry = (image_id(word), *(parent.ancestry if parent else ()))
    layer = gzip.compress(buffer.getvalue(), mtime=0)
    return Image(image_id(word), json.dumps(document).encode(), layer, ancestry)


@contextmanager
def demo(folder: Path, **env: str) -> Iterator[Server]:
    """Yield a registry with an index: accounts `root`, `ann` (of `team`), `bob`, `alice`."""
    url = f"sqlite:///{folder}/index.db"
    with Server(folder / "store", env={"INDEX_DATABASE": url, **env}) as server:
        database = open_database(url)
        accounts, namespaces = AccountStore(database, here), Namespaces(database)
        for name in ("root", "ann", "bob", "alice"):
            accounts.add(name, PASSWORD, email=f"{name}@example.org", is_admin=name == "root")
        for name in ("team", "tools", "library"):
            namespaces.add(name)
        namespaces.grant("ann", "admin", "team")
        namespaces.grant("bob", "push", "team")
        _push(server)
        _describe(RepositoryRecords(database, private=False), Social(database))
        _age(database, folder / "store")
        database.close()
        yield server


def _push(server: Server) -> None:
    client = Client(server, {**basic("root", PASSWORD), "User-Agent": _AGENT})
    base = image("debian-base", None, 900, "2015-01-08T11:20:00Z", "#(nop) ADD file:a1b2 in /")
    top = image("debian", base, 12, "2015-01-08T11:21:00Z", "apt-get update && apt-get upgrade -y")
    for repository, (tags, kilobytes, _) in REPOSITORIES.items():
        for number, tag in enumerate(tags):
            images = [base, top]
            if kilobytes:
                word = f"{repository}-{tags[-2] if tag == 'latest' and len(tags) > 1 else tag}"
                created = f"2015-0{1 + number % 6}-1{number % 9}T09:30:00Z"
                size = kilobytes * (3 + number) // 12
                images.append(
                    image(word.replace("/", "-"), top, size, created, f"make install TAG={tag}")
                )
            client.push(repository, images, tag)


def _age(database: Database, store: Path) -> None:
    """Let the pushes be some days old, and count pulls."""
    table, now = schema.repositories, int(time.time())
    for number, (repository, (tags, _, _)) in enumerate(REPOSITORIES.items()):
        pushed = now - (1 + number * number) * DAY
        values = {"updated": pushed, "created": now - 420 * DAY, "pulls": 9000 // (number + 1) ** 2}
        change = table.update().where(table.c.name == repository).values(values)
        database.write(lambda connection, change=change: connection.execute(change))
        for age, tag in enumerate(reversed(tags)):
            file = store / "repositories" / repository / f"tag{tag}_json"
            value = json.loads(file.read_text())
            file.write_text(json.dumps({**value, "last_update": pushed - 40 * age * DAY}))


def _describe(catalog: RepositoryRecords, social: Social) -> None:
    for repository, (_, _, short) in REPOSITORIES.items():
        catalog.describe(RepositoryName.parse(repository), short)
    billing = RepositoryName.parse("team/billing")
    catalog.describe(billing, full=ABOUT)
    catalog.flag(RepositoryName.parse("alice/experiments"), is_private=True)
    catalog.flag(RepositoryName.parse("team/billing-worker"), is_private=True)
    catalog.flag(RepositoryName.parse("library/debian"), is_official=True)
    for user in ("ann", "bob", "root"):
        social.star(billing, user)
    social.star(RepositoryName.parse("library/debian"), "bob")
    social.comment(billing, "bob", "1.9.1 fixes the rounding of VAT.\nPlease do not use 1.9.0.")
    social.comment(billing, "ann", "1.10.1 is on all shops since Monday.")
