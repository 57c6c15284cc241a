"""The pages of an image and of its layers, over a socket and in a real browser."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests import raw
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.protocol.engine import Image, image_id
from tests.web.browser import WIDTHS, Chromium, accessible, screenshot, status
from tests.web.conftest import HOSTILE

AGENT = {"User-Agent": "skopeo/1.9"}
LONGEST_PAGE = 100_000  # bytes
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image(word: str, parent: Image | None, files: dict[str, int | None], **members: Any) -> Image:
    """Return an image. `files` are names and sizes; None is a folder, and `.wh.` deletes."""
    document = {
        "id": image_id(word),
        "created": "2015-01-08T11:20:00Z",
        "container_config": {"Cmd": ["/bin/sh", "-c", f"make {word}"]},
        "docker_version": "1.6.2",
        "architecture": "amd64",
        "os": "linux",
        **({"parent": parent.id} if parent else {}),
        **members,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, size in files.items():
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if size is None else tarfile.REGTYPE
            entry.size, entry.mtime = size or 0, 1420000000
            archive.addfile(entry, io.BytesIO(bytes(size or 0)))
    ancestry = (image_id(word), *(parent.ancestry if parent else ()))
    layer = gzip.compress(buffer.getvalue(), mtime=0)
    return Image(image_id(word), json.dumps(document).encode(), layer, ancestry)


BASE = image(
    "base",
    None,
    {"etc": None, "etc/passwd": 1000, "etc/apt/sources.list": 300, "bin/sh": 90_000, "old": 5},
    container_config={"Cmd": ["/bin/sh", "-c", "#(nop) ADD file:a1b2 in /"]},
)
EMPTY = image("empty", BASE, {}, container_config={"Cmd": ["/bin/sh", "-c", "#(nop) ENV A=1"]})
APP = image(
    "app",
    EMPTY,
    {"etc/passwd": 1100, ".wh.old": 0, **{f"srv/app/file-{n:03}.txt": n for n in range(130)}},
    author="Ann <ann@example.org>",
    config={
        "Cmd": ["/srv/run", "--serve"],
        "Entrypoint": ["/init"],
        "Env": [PATH, "LANG=C.UTF-8"],
        "ExposedPorts": {"8080/tcp": {}},
        "Volumes": {"/var/lib/data": {}},
        "Labels": {"org.example.team": "billing"},
        "User": "www-data",
        "WorkingDir": "/srv",
    },
)
NEXT = image("next", EMPTY, {"srv/app/main": 4000})
WORKER = image("worker", BASE, {"srv/worker/main": 700})
BAD = image(
    "bad",
    None,
    {HOSTILE: 3, f"{HOSTILE}/{HOSTILE}": 3, f".wh.{HOSTILE}x": 0},
    author=HOSTILE,
    comment=HOSTILE,
    docker_version=HOSTILE,
    os=HOSTILE,
    architecture=HOSTILE,
    container_config={"Cmd": ["/bin/sh", "-c", HOSTILE]},
    config={
        "Cmd": [HOSTILE],
        "Entrypoint": [HOSTILE],
        "Env": [f"{HOSTILE}={HOSTILE}"],
        "ExposedPorts": {HOSTILE: {}},
        "Volumes": {HOSTILE: {}},
        "Labels": {HOSTILE: HOSTILE},
        "User": HOSTILE,
        "WorkingDir": HOSTILE,
    },
)
NO_TAR = Image(image_id("no-tar"), json.dumps({"id": image_id("no-tar")}).encode(), b"no tar" * 200,
               (image_id("no-tar"),))  # fmt: skip
PAGES = {
    "image": f"/ui/images/{APP.id}?repository=team/billing&tag=1.10",
    "layer": f"/ui/images/{APP.id}/layer?repository=team/billing&tag=1.10",
    "folder": f"/ui/images/{APP.id}/layer?path=srv/app",
    "changes": f"/ui/images/{APP.id}/layer?view=changes",
    "search": f"/ui/images/{APP.id}/layer?q=.txt",
    "base": f"/ui/images/{BASE.id}",
    "empty": f"/ui/images/{EMPTY.id}/layer",
    "no-tar": f"/ui/images/{NO_TAR.id}/layer",
    "hostile": f"/ui/images/{BAD.id}",
    "hostile-layer": f"/ui/images/{BAD.id}/layer",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An open registry with related images, one of hostile texts, and a layer that is no tar."""
    store = tmp_path_factory.mktemp("images") / "store"
    seed.image(store, NO_TAR.json, NO_TAR.layer, NO_TAR.ancestry, [NO_TAR.checksum])
    with Server(store) as running:
        engine.push(running, "team/billing", [BASE, EMPTY, APP], ["1.10", "latest"])
        engine.push(running, "team/billing", [BASE, EMPTY, NEXT], ["1.11"])
        engine.push(running, "team/worker", [BASE, WORKER], ["3"])
        engine.push(running, "library/debian", [BASE], ["jessie"])
        engine.push(running, "team/bad", [BAD], ["1"])
        for name in ("team/billing/manifests/1.10", "team/billing/manifests/1.11"):
            engine.expect(raw.get(running, f"/v2/{name}", AGENT))  # this reads the layers
        yield running


def read(server: Server, path: str, expected: int = 200) -> str:
    answer = raw.get(server, path)
    assert answer.status == expected, answer.status
    assert len(answer.body) < LONGEST_PAGE
    return answer.body.decode()


# -- the image ---------------------------------------------------------------------------------------


def test_what_an_image_runs_and_how_it_was_made(chromium: Chromium, server: Server):
    with chromium.visit(server, path=PAGES["image"], has_scripts=False) as page:
        facts = dict(pair.split("\n", 1) for pair in page_facts(page))
        assert facts["Author"] == "Ann <ann@example.org>"
        assert facts["Command"] == '["/srv/run", "--serve"]'
        assert facts["Entrypoint"] == '["/init"]'
        assert (facts["User"], facts["Working directory"]) == ("www-data", "/srv")
        assert (facts["Ports"], facts["Volumes"]) == ("8080/tcp", "/var/lib/data")
        assert (facts["PATH"], facts["org.example.team"]) == (PATH[5:], "billing")
        assert (facts["Platform"], facts["Docker"]) == ("linux/amd64", "1.6.2")
        steps = page.locator("#layers tbody .step").all_inner_texts()
        assert steps == ["ADD file:a1b2 in /", "ENV A=1", "RUN make app"]
        page.locator("#layers tbody tr", has_text="ENV A=1").get_by_text("empty").wait_for()


def page_facts(page: Page) -> list[str]:
    return page.evaluate(
        "[...document.querySelectorAll('dl.facts dt')].map("
        "dt => dt.innerText + '\\n' + dt.nextElementSibling.innerText)"
    )


def test_the_digests_are_those_of_the_v2_view(server: Server):
    answer = raw.get(server, "/v2/team/billing/manifests/1.10", AGENT)
    digest = answer.header("Docker-Content-Digest")
    assert digest is not None
    config = json.loads(answer.body)["config"]["digest"]
    text = read(server, PAGES["image"])
    assert f'title="{digest}"' in text
    assert f'title="{config}"' in text


def test_related_tags_in_the_drawing_and_in_the_table(chromium: Chromium, server: Server):
    with chromium.visit(server, path=PAGES["image"]) as page:
        rows = [row.split("\t") for row in page.locator(".relatives tbody tr").all_inner_texts()]
        assert [(row[0], row[2].split("·")[0].strip()) for row in rows] == [
            ("team/billing:latest", "this image"),
            ("team/billing:1.10", "this image"),
            ("team/billing:1.11", "2 layers"),
            ("library/debian:jessie", "1 layer"),
            ("team/worker:3", "1 layer"),
        ]
        drawn = page.locator("svg.lineage .label text").all_text_contents()
        assert sorted(drawn) == sorted(row[0] for row in rows)
        size = page.locator("#layers tbody tr").first.locator("td").nth(1).inner_text()
        assert page.locator("svg.lineage .size").first.text_content() == size
        page.get_by_role("img", name="Lineage of layers").wait_for()
        page.locator(".relatives").get_by_role("link", name="team/worker:3").click()
        page.get_by_role("heading", name="team/worker:3").wait_for()


def test_a_context_that_the_visitor_may_not_see_is_ignored(server: Server):
    text = read(server, f"/ui/images/{APP.id}?repository=no/../such&tag=1&_external=1&_scheme=x")
    assert "no/../such" not in text.split("<main")[1].split("</main")[0]
    assert "x://" not in text


@pytest.mark.parametrize(
    ("name", "path"), [("json", f"/v1/images/{APP.id}/json"), ("ancestry", f"/v1/images/{APP.id}/ancestry"),
                       ("manifest", "/v2/team/billing/manifests/1.10")],
)  # fmt: skip
def test_downloads_are_what_the_api_serves(server: Server, name: str, path: str):
    answer = raw.get(server, f"/ui/images/{APP.id}/download/{name}")
    assert answer.status == 200
    assert answer.body == raw.get(server, path, AGENT).body
    assert (answer.header("Content-Disposition") or "").startswith("attachment; filename=")
    assert answer.header("X-Content-Type-Options") == "nosniff"


def test_downloads_that_do_not_exist(server: Server):
    read(server, f"/ui/images/{APP.id}/download/layer", 404)
    oci = raw.get(server, f"/ui/images/{APP.id}/download/oci-manifest")
    assert json.loads(oci.body)["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert "no manifest" in read(server, f"/ui/images/{NO_TAR.id}/download/manifest", 404)


@pytest.mark.parametrize("image_id", ["0" * 64, "0" * 16, "x", quote(HOSTILE.replace("/", ""))])
def test_an_image_that_does_not_exist(server: Server, image_id: str):
    for path in ("", "/layer", "/layer/progress", "/download/json"):
        assert "There is no such image" in read(server, f"/ui/images/{image_id}{path}", 404)


def test_a_large_and_hostile_image_stays_small(tmp_path: Path):
    store = tmp_path / "store"
    made: list[Image] = []
    text = HOSTILE * 100
    config = {"Env": [f"{n}={text}" for n in range(500)], "Labels": {text: text}, "User": text * 9}
    for number in range(120):
        parent = made[-1] if made else None
        command = {"Cmd": ["/bin/sh", "-c", text]}
        made.append(
            image(str(number), parent, {}, container_config=command, config=config, author=text)
        )
        seed.image(store, made[-1].json, made[-1].layer, made[-1].ancestry, [made[-1].checksum])
    tags = {f"{'t' * 100}-{number}": made[-1 - number].id for number in range(40)}
    seed.tags(store / "repositories/team/large", tags)
    with Server(store) as server:
        path = f"/ui/images/{made[-1].id}?repository=team/large"
        for page in ("", "&page=2", "&page=3", "&page=4"):
            text = read(server, path + page)
        assert 'rel="prev"' in text
        for _ in range(100):
            if "not read in time" not in text:
                break
            text = read(server, path)
        assert len(re.findall(r'class="label', text)) == 12


# -- a layer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_scripts", [True, False])
def test_the_tree_of_files(chromium: Chromium, server: Server, has_scripts: bool):
    with chromium.visit(server, path=PAGES["image"], has_scripts=has_scripts) as page:
        page.locator("#layers").get_by_role("link", name=APP.id[:12]).click()
        rows = page.locator("table.files tbody tr")
        rows.first.wait_for()
        assert [row.split("\t")[0].strip() for row in rows.all_inner_texts()] == [
            "etc/",
            "srv/",
            "olddeleted",
        ]
        page.get_by_role("link", name="srv/").click()
        page.get_by_text("130 files · 8.4 kB").wait_for()
        page.get_by_role("link", name="app/").click()
        page.get_by_role("link", name="Next").wait_for()
        assert rows.count() == 100
        page.get_by_role("link", name="Next").click()
        page.get_by_text("Page 2").wait_for()
        assert rows.count() == 30
        page.get_by_role("searchbox").fill("FILE-12")
        if not has_scripts:
            page.get_by_role("button", name="Search").click()
        page.get_by_text("10 names contain the text.").wait_for()
        page.get_by_role("link", name="Show the tree").click()
        page.get_by_role("link", name="etc/").wait_for()
        page.get_by_role("link", name="1.10").click()
        page.get_by_role("heading", name="team/billing:1.10").wait_for()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_the_changes_of_a_layer(chromium: Chromium, server: Server, has_scripts: bool):
    with chromium.visit(server, path=PAGES["layer"], has_scripts=has_scripts) as page:
        page.get_by_role("link", name="Changes").click()
        for name in ("Added 130", "Changed 1", "Deleted 1"):
            page.get_by_role("link", name=name).wait_for()
        rows = page.locator("table.files tbody tr")
        page.get_by_role("link", name="Deleted 1").click()
        page.locator("[aria-current=true]", has_text="Deleted").wait_for()
        assert [row.split() for row in rows.all_inner_texts()] == [["deleted", "old"]]
        page.get_by_role("link", name="Changed 1").click()
        page.locator("[aria-current=true]", has_text="Changed").wait_for()
        assert rows.all_inner_texts()[0].split()[:2] == ["changed", "etc/passwd"]
        page.get_by_role("searchbox").fill("none")
        if not has_scripts:
            page.get_by_role("button", name="Search").click()
        page.get_by_text("No file name matches.").wait_for()


def test_layers_without_files_and_layers_that_cannot_be_listed(tmp_path: Path, server: Server):
    assert "The layer is empty" in read(server, PAGES["empty"])
    for view in ("", "?view=changes"):
        text = read(server, PAGES["no-tar"] + view)
        assert "not a tar archive" in text
    text = read(server, f"/ui/images/{APP.id}/layer?path=no/such")
    assert "does not have it" in text
    read(server, f"/ui/images/{APP.id}/layer?page=x", 400)
    store = tmp_path / "store"
    lost = image("lost", BASE, {"a": 1})
    seed.image(store, lost.json, lost.layer, lost.ancestry, [lost.checksum])
    (store / "images" / image_id("none")).mkdir()
    seed.image(store, json.dumps({"id": image_id("none")}).encode(), None, [image_id("none")])
    large = image("large", None, {str(n): 1 for n in range(30)})
    seed.image(store, large.json, large.layer, large.ancestry, [large.checksum])
    with Server(store, env={"LIMITS_FILES_ENTRIES": "20"}) as other:
        assert "is missing in the store" in read(other, f"/ui/images/{lost.id}/layer?view=changes")
        assert "has no layer" in read(other, f"/ui/images/{image_id('none')}/layer")
        assert "limits.files_entries" in read(other, f"/ui/images/{large.id}/layer")
        read(other, f"/ui/images/{lost.id}")


def test_a_listing_that_is_damaged(tmp_path: Path):
    store = tmp_path / "store"
    seed.image(store, BASE.json, BASE.layer, BASE.ancestry, [BASE.checksum])
    (store / "images" / BASE.id / "_diff").write_bytes(b'{"created": {"a": [}}')
    with Server(store) as server:
        assert "not a tar archive" in read(server, f"/ui/images/{BASE.id}/layer?view=changes")


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_large_layer_is_read_in_the_background(
    chromium: Chromium, tmp_path: Path, has_scripts: bool
):
    """The tar is 6 GiB of zeros in 6 MB, which takes seconds to unpack."""
    store = tmp_path / "store"
    size = 96 * (64 << 20)
    header = tarfile.TarInfo("zeros")
    header.size = size
    zeros = gzip.compress(bytes(64 << 20), 6, mtime=0)
    layer = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT), mtime=0) + zeros * 96
    document = json.dumps({"id": image_id("zeros")}).encode()
    seed.image(store, document, layer, [image_id("zeros")], None)
    path = f"/ui/images/{image_id('zeros')}/layer"
    with (
        Server(store) as server,
        chromium.visit(server, path=None, has_scripts=has_scripts) as page,
    ):
        page.goto(path)
        page.get_by_role("heading", name="The registry is reading the layer").wait_for()
        screenshot(page, "reading")
        if has_scripts:
            accessible(page)
        assert raw.get(server, "/v1/_ping").status == 200  # the event loop is free
        page.get_by_text("6.4 GB").first.wait_for(timeout=300_000)


# -- all pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_are_accessible(chromium: Chromium, server: Server, width: int, name: str):
    with chromium.visit(server, width=width, path=None) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        assert status(page.goto(PAGES[name])) == 200
        screenshot(page, f"{name}-{width}")
        accessible(page)
        assert page.locator("img").count() == 0


def test_the_pages_in_the_dark(chromium: Chromium, server: Server):
    with chromium.visit(server, is_dark=True, path=None) as page:
        for name in ("image", "changes"):
            page.goto(PAGES[name])
            screenshot(page, f"{name}-dark")
            accessible(page)


def test_the_pages_in_chinese(chromium: Chromium, server: Server):
    with chromium.visit(server, path=PAGES["image"], language="zh-CN") as page:
        page.get_by_role("heading", name="构建历史").wait_for()
        screenshot(page, "image-chinese")
