"""The command `v1registry migrate`, to a real v2 registry."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.v2registry import V2Registry
from tests.live_server import ROOT
from tests.needs import needs, require
from tests.transfer.cutting import Cutting
from tests.transfer.made import MadeStore
from tests.transfer.run import call
from v1registry.lib.oci.convert import OCI, SCHEMA2, digest_of

GOLDEN = ROOT / "tests" / "fixtures" / "golden"
IDS = {
    line["repository"]: line["image_id"]
    for line in json.loads((GOLDEN / "image-ids.json").read_text())
}


class Command:
    """The command on one store, with its own home folder."""

    def __init__(self, store: Path, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.journal = folder / "journal"

    def environ(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONWARNINGS": "error",
            "SETTINGS_FLAVOR": "local",
            "STORAGE_PATH": str(self.store),
            **more,
        }

    def start(self, to: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "v1registry", "migrate", "--to", to]
        command += ["--journal", str(self.journal), *arguments]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environ(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, to: str, *arguments: str, status: int = 0, **env: str) -> tuple[str, str]:
        """Return standard output and error, and check the exit status."""
        command = ["migrate", "--to", to, "--journal", str(self.journal), *arguments]
        return call(command, self.environ(**env), status)

    def report(self, to: str, *arguments: str, status: int = 0, **env: str) -> dict[str, Any]:
        out, _ = self.run(to, "--json", "--quiet", *arguments, status=status, **env)
        document: dict[str, Any] = json.loads(out)
        return document


@pytest.fixture
def target(tmp_path: Path) -> Iterator[V2Registry]:
    require("v2-registry")
    with V2Registry(tmp_path / "go") as running:
        yield running


@pytest.fixture
def golden(tmp_path: Path) -> Command:
    store = tmp_path / "store"
    shutil.copytree(GOLDEN / "store-0.9.1", store)
    return Command(store, tmp_path)


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    return MadeStore(tmp_path / "store")


def at(target: V2Registry, name: str, tag: str, media_type: str = SCHEMA2) -> dict[str, Any]:
    """Return the manifest of a tag of the target, after comparing its digest."""
    answer = target.get(f"/v2/{name}/manifests/{tag}", media_type)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Docker-Content-Digest"] == digest_of(answer.content)
    document: dict[str, Any] = json.loads(answer.content)
    assert document["mediaType"] == media_type
    return document


def test_image_ids_are_those_that_engines_computed(golden: Command, target: V2Registry) -> None:
    report = golden.report(target.url, "--tags", "latest")
    moved = {line["repository"]: line for line in report["images"]}
    assert set(moved) == set(IDS)
    for name, expected in IDS.items():
        line = moved[name]
        assert line["state"] == "moved"
        assert line["image_id"] == at(target, name, "latest")["config"]["digest"]
        assert line["image_id"] == expected
        config = target.get(f"/v2/{name}/blobs/{line['image_id']}").content
        short = name.rpartition("/")[2]
        assert config == (GOLDEN / f"{short}.config.json").read_bytes()


def test_layers_are_the_stored_bytes(golden: Command, target: V2Registry) -> None:
    golden.run(target.url, "--tags", "latest")
    manifest = at(target, "libtest/d150", "latest")
    tag = golden.store / "repositories/libtest/d150/tag_latest"
    ancestry = json.loads((golden.store / "images" / tag.read_text() / "ancestry").read_text())
    stored = [(golden.store / "images" / id / "layer").read_bytes() for id in reversed(ancestry)]
    assert [layer["digest"] for layer in manifest["layers"]] == [digest_of(data) for data in stored]
    for layer, data in zip(manifest["layers"], stored, strict=True):
        assert target.get(f"/v2/libtest/d150/blobs/{layer['digest']}").content == data


def test_a_second_run_finds_all_there(golden: Command, target: V2Registry) -> None:
    golden.run(target.url, "--tags", "latest")
    again = golden.report(target.url, "--tags", "latest")
    assert again["totals"]["there"] == len(IDS)
    assert again["totals"]["bytes_sent"] == 0
    golden.journal.unlink()  # without it, too
    again = golden.report(target.url, "--tags", "latest")
    assert again["totals"]["there"] == len(IDS)


def test_images_that_cannot_be_sent_are_reported_and_do_not_stop_others(
    golden: Command, target: V2Registry
) -> None:
    report = golden.report(target.url, "--report", str(golden.folder / "report.json"), status=3)
    failed = {
        (line["repository"], line["tag"]): line for line in report["images"] if line["reason"]
    }
    assert set(failed) == {("libtest/d150", "v2"), ("libtest/d183", "v2")}
    assert "missing or not complete" in failed["libtest/d150", "v2"]["reason"]
    assert report["totals"]["moved"] == 6
    assert json.loads((golden.folder / "report.json").read_text()) == report
    out, error = golden.run(target.url, status=3)
    assert "failed      libtest/d150:v2" in out.splitlines()[-3] + out.splitlines()[-2]
    assert "images: 6 there, 2 failed" in out.splitlines()[-1]
    assert "[8/8]" in error


def test_names_that_only_old_stores_hold(golden: Command, target: V2Registry) -> None:
    folder = golden.store / "repositories"
    shutil.copytree(folder / "libtest/d150", folder / "Foo/Bar")
    shutil.copytree(folder / "libtest/d150", folder / "libtest/b%0A")
    chosen = ("--repositories", "Foo/*", "--repositories", "libtest/b*", "--tags", "latest")
    out, _ = golden.run(target.url, *chosen, "--quiet", status=3)
    assert "failed      Foo/Bar:latest" in out
    assert "Foo/Bar is no name for a repository of a v2 registry: rename it with --map" in out
    assert "failed      libtest/b%0A: no client can ask for a repository of this name" in out
    renamed = (*chosen[:2], "--tags", "latest", "--map", "Foo/=foo/", "--map", "Foo/Bar=foo/bar")
    golden.run(target.url, *renamed, "--quiet")
    assert at(target, "foo/bar", "latest")


def test_unreadable_tags_are_reported(golden: Command, target: V2Registry) -> None:
    (golden.store / "repositories/libtest/d150/tag_bad").write_bytes(b"garbage")
    chosen = ("--repositories", "libtest/d150", "--tags", "latest", "--tags", "bad")
    out, _ = golden.run(target.url, *chosen, "--quiet", status=3)
    assert "failed      libtest/d150:bad: the file of the tag holds no image id" in out
    assert "1 there" in golden.run(target.url, *chosen, "--quiet", status=3)[0]


def test_a_dry_run_sends_nothing(golden: Command, target: V2Registry) -> None:
    plan = golden.report(target.url, "--tags", "latest", "--dry-run")
    assert target.blobs() == set()
    assert not golden.journal.exists()
    assert plan["totals"]["would_move"] == 4
    done = golden.report(target.url, "--tags", "latest")
    for name in ("bytes_sent", "blobs_uploaded"):
        assert plan["totals"][name] == done["totals"][name]


def test_selecting_and_renaming(golden: Command, target: V2Registry) -> None:
    report = golden.report(
        target.url, "--repositories", "libtest/d1*1", "--repositories", "*/d183",
        "--tags", "latest", "--map", "libtest/=apps/old/", "--map", "libtest/d183=one",
    )  # fmt: skip
    assert {line["target"] for line in report["images"]} == {"apps/old/d101", "one"}
    at(target, "apps/old/d101", "latest")
    at(target, "one", "latest")


def test_as_oci(golden: Command, target: V2Registry) -> None:
    report = golden.report(target.url, "--tags", "latest", "--format", "oci")
    for line in report["images"]:
        assert at(target, line["target"], "latest", OCI)["config"]["digest"] == line["image_id"]


@needs("skopeo")
def test_skopeo_reads_migrated_images(golden: Command, target: V2Registry) -> None:
    golden.run(target.url, "--tags", "latest")
    done = subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false",
         f"docker://{target.host}/libtest/d183:latest", f"oci:{golden.folder / 'oci'}:d183"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# -- kinds of layers, and shared layers -------------------------------------------------


def test_other_compressions_are_moved_unpacked(
    made: MadeStore, target: V2Registry, tmp_path: Path
) -> None:
    top = None
    for packing in ("tar", "gzip", "bzip2", "xz"):
        top = made.image(top, 5000, packing)
    made.tag("team/app", "1", top)
    Command(made.folder, tmp_path).run(target.url)
    manifest = at(target, "team/app", "1")
    config = json.loads(target.get(f"/v2/team/app/blobs/{manifest['config']['digest']}").content)
    plain, gzipped, *others = manifest["layers"]
    assert plain["digest"] == config["rootfs"]["diff_ids"][0]
    assert gzipped["digest"] != config["rootfs"]["diff_ids"][1]
    assert [layer["digest"] for layer in others] == config["rootfs"]["diff_ids"][2:]


def test_a_layer_that_repositories_share_is_sent_once(
    made: MadeStore, target: V2Registry, tmp_path: Path
) -> None:
    base = made.image(None, 100_000)
    for number in range(5):
        made.tag(f"team/app{number}", "1", made.image(base, 10))
    totals = Command(made.folder, tmp_path).report(target.url)["totals"]
    assert (totals["blobs_uploaded"], totals["blobs_mounted"]) == (6, 4)
    assert totals["bytes_sent"] < 110_000


def test_many_tags_of_one_image_do_not_disturb_each_other(
    made: MadeStore, target: V2Registry, tmp_path: Path
) -> None:
    for number in range(8):
        top = made.image(None, 10)
        for tag in "abcdefgh":
            made.tag(f"team/app{number}", tag, top)
    totals = Command(made.folder, tmp_path).report(target.url, "--jobs", "8")["totals"]
    assert (totals["moved"], totals["failed"]) == (64, 0)


def test_a_damaged_layer_is_reported(made: MadeStore, target: V2Registry, tmp_path: Path) -> None:
    base = made.image(None)
    made.tag("team/bad", "1", made.image(base))
    made.tag("team/bad", "2", made.image(made.image(None)))
    layer = made.folder / "images" / base / "layer"
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    report = Command(made.folder, tmp_path).report(target.url, status=3)
    (bad,) = [line for line in report["images"] if line["state"] == "failed"]
    assert bad["tag"] == "1"
    assert base in bad["reason"]
    assert target.get("/v2/team/bad/tags/list").json()["tags"] == ["2"]


def test_names_that_v2_registries_refuse(
    made: MadeStore, target: V2Registry, tmp_path: Path
) -> None:
    made.tag("team/_odd", "1", made.image(None))
    command = Command(made.folder, tmp_path)
    (line,) = command.report(target.url, status=3)["images"]
    assert "rename it with --map" in line["reason"]
    command.run(target.url, "--map", "team/_odd=team/odd")
    at(target, "team/odd", "1")


# -- stopped, slow, failing ------------------------------------------------------------------


def inventory(target: V2Registry) -> dict[str, str]:
    """Return all tags of the target with their digests."""
    found = {}
    for name in target.get("/v2/_catalog?n=1000").json()["repositories"]:
        for tag in target.get(f"/v2/{name}/tags/list").json()["tags"] or []:
            answer = target.get(f"/v2/{name}/manifests/{tag}", SCHEMA2)
            found[f"{name}:{tag}"] = answer.headers["Docker-Content-Digest"]
    return found


def killed(made: MadeStore, target: V2Registry, folder: Path, images: int, most: int) -> int:
    """Kill a migration of `images` several times, then let it finish; return the number of kills."""
    made.many(images, 20_000)
    command = Command(made.folder, folder)
    dice, kills = random.Random(5), 0
    while kills < most:
        process = command.start(target.url, "--quiet", "--jobs", "1")
        # at a moment between the start and the middle of the work
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=dice.uniform(0.5, 1.2))
        if process.poll() is not None:
            break  # the migration was complete
        process.send_signal(signal.SIGKILL if kills % 2 else signal.SIGTERM)
        process.communicate(timeout=30)
        kills += 1
    report = command.report(target.url)
    assert report["totals"]["moved"] + report["totals"]["there"] == images
    with V2Registry(folder / "other") as other:
        fresh = Command(made.folder, folder / "fresh")
        fresh.folder.mkdir()
        fresh.run(other.url, "--quiet")
        assert inventory(other) == inventory(target)
        assert len(inventory(other)) == images
        assert other.blobs() <= target.blobs()
    return kills


def test_killed_it_ends_as_an_undisturbed_run(
    made: MadeStore, target: V2Registry, tmp_path: Path
) -> None:
    assert killed(made, target, tmp_path, 50, 4) >= 1


@pytest.mark.heavy
def test_killed_ten_times_it_ends_as_an_undisturbed_run(
    made: MadeStore, target: V2Registry, tmp_path: Path
) -> None:
    assert killed(made, target, tmp_path, 200, 10) >= 5


def test_ctrl_c_is_reported(made: MadeStore, target: V2Registry, tmp_path: Path) -> None:
    made.many(40, 1_000_000)
    command = Command(made.folder, tmp_path)
    process = command.start(target.url)
    end = time.monotonic() + 30
    while not command.journal.exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert "stopped; run the same command again to resume" in error


def test_a_bad_network_is_retried(made: MadeStore, target: V2Registry, tmp_path: Path) -> None:
    made.many(12, 400_000)
    with Cutting(target.port) as proxy:
        proxy.cut, proxy.dice, proxy.most = 250_000, 0.5, 4
        report = Command(made.folder, tmp_path).report(proxy.url)
        assert proxy.cuts >= 2
    assert report["totals"]["moved"] == 12
    assert len(inventory(target)) == 12


def test_a_registry_that_goes_away(made: MadeStore, target: V2Registry, tmp_path: Path) -> None:
    made.many(4, 1000)
    command = Command(made.folder, tmp_path)
    target.kill()
    _, error = command.run(target.url, status=1)
    assert "2 tries" in error
    target.start()
    command.run(target.url)


def test_credentials(made: MadeStore, tmp_path: Path) -> None:
    require("v2-registry")
    made.many(2, 1000)
    command = Command(made.folder, tmp_path)
    with V2Registry(tmp_path / "closed", account=("ann", "pw")) as closed:
        _, error = command.run(closed.url, status=1)
        assert "requires credentials" in error
        _, error = command.run(closed.url, "--creds", "ann:hush", status=1)
        assert "refused the credentials" in error
        assert "hush" not in error
        docker = tmp_path / ".docker"
        docker.mkdir()
        auths = {"auths": {closed.host: {"auth": "YW5uOnB3"}}}
        (docker / "config.json").write_text(json.dumps(auths))
        command.run(closed.url)
        command.run(closed.url, "--creds", "ann:pw")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "ftp://x"], "must be https://host"),
        (["--to", "https://x/path"], "must be https://host"),
        (["--to", "https://a:b@x"], "not in the URL"),
        (["--to", "https://a:b@x/path"], "not in the URL"),
        (["--to", "a:b@x"], "not in the URL"),
        (["--to", "ftp://a:b@x"], "not in the URL"),
        (["--to", "http://127.0.0.1:1", "--map", "x"], "must be OLD=NEW"),
        (["--to", "http://127.0.0.1:1", "--creds", "x"], "USER:PASSWORD"),
    ],
)
def test_wrong_options(made: MadeStore, tmp_path: Path, arguments: list[str], reason: str) -> None:
    made.many(1, 10)
    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "migrate", *arguments],
        cwd=ROOT, env=Command(made.folder, tmp_path).environ(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_store(target: V2Registry, tmp_path: Path) -> None:
    _, error = Command(tmp_path / "store", tmp_path).run(target.url, status=1)
    assert "there is no store in" in error
    (tmp_path / "store/repositories/team/app").mkdir(parents=True)
    _, error = Command(tmp_path / "store", tmp_path).run(target.url, status=1)
    assert "no tag in the store matches" in error
