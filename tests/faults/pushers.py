"""Clients that push one image after another while a test breaks the server."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

from tests.faults.engine import (
    Engine,
    Promises,
    PushedImage,
    Unanswered,
    make_image,
    make_tar,
    squeeze,
    until_answered,
)
from tests.live_server import Server
from tests.raw import Answer

SAME, OTHERS = 4, 2  # clients that push the same images, and clients with images of their own
SIZES = (3_000, 60_000, 400_000)  # bytes of a layer


class Pushers:
    """Pushes until the `with` block ends. Equal seeds push equal images.

    `refused` lists what engines treat as a failure; with an intact store there is none. `answers` are
    the answers among them. `sizes` are the sizes of layers in bytes.
    `again`: a push without an answer is repeated until it has one; otherwise its client ends.
    `stubborn`: a push that was refused is repeated too.
    """

    def __init__(
        self,
        server: Server,
        seed: object,
        promises: Promises | None = None,
        *,
        again: bool = True,
        stubborn: bool = False,
        sizes: tuple[int, ...] = SIZES,
    ) -> None:
        self.server = server
        self.seed = seed
        self.promises = promises or Promises()
        self.refused: list[str] = []
        self.answers: list[Answer] = []
        self.cut = 0
        self.rounds = 0
        self.newest = Path("/nowhere")  # the folder of the image whose push began last
        self._again = again
        self._stubborn = stubborn
        self._sizes = sizes
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(SAME + OTHERS)
        ]

    def __enter__(self) -> Pushers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def _run(self, number: int) -> None:
        same = number < SAME
        repository = "faults/same" if same else f"faults/own{number}"
        engine = Engine(self.server, repository, self.promises)
        turn = 0
        while not self._ends.is_set():
            name = f"{self.seed} same {turn}" if same else f"{self.seed} own {number} {turn}"
            images = chain(number if same else 0, name, self._sizes)
            self.newest = self.server.store / "images" / images[-1].id
            tag = f"{self.seed} {number} {turn}".replace(" ", "-")

            push = partial(engine.push, images, f"t{tag}", look=turn % 2 == 0)
            try:
                self.cut += until_answered(push, 60 if self._again else 0)
            except (Unanswered, OSError, AssertionError) as error:
                self.refused.append(f"{engine.repository} {turn}: {error!r}")
                if isinstance(error, Unanswered):
                    self.answers.append(error.answer)
                if self._stubborn:
                    continue
                return
            turn += 1
            self.rounds += 1


def chain(variant: int, name: str, sizes: tuple[int, ...] = SIZES) -> list[PushedImage]:
    """Return a base image and its child. `variant` changes the gzip bytes of the same tars."""
    chance = random.Random(name)
    tars = [make_tar(chance.getrandbits(32), chance.choice(sizes)) for _ in range(2)]
    base = make_image(f"{name} base", squeeze(tars[0], variant))
    return [base, make_image(name, squeeze(tars[1], variant), base)]
