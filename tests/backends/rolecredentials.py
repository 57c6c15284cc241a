"""A FAKE of what gives a container its role's temporary credentials, as ECS and EKS have it; the
keys that it gives are real ones of Ceph's.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tests.backends.ceph import Ceph


class RoleCredentials:
    """A user of Ceph's with a bucket of the same name, whose keys change.

    `life`: seconds for which what is given counts, negative: it has expired before. `broken`: there
    are none at the moment. `asked` counts.
    """

    def __init__(self, ceph: Ceph, name: str) -> None:
        self.name = name
        self.life = 2.0
        self.broken = False
        self.asked = 0
        self._ceph = ceph
        self._number = 0
        ceph.admin("user", "create", f"--uid={name}", "--display-name=role", *self._words())
        self.client = ceph.client(*self.keys)
        self.client.create_bucket(Bucket=name)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                body = json.dumps(outer._given()).encode()
                self.send_response(500 if outer.broken else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def keys(self) -> tuple[str, str]:
        return self._pair(self._number)

    def _pair(self, number: int) -> tuple[str, str]:
        return f"{self.name}{number}", f"secret{number}"

    def environ(self) -> dict[str, str]:
        """Return variables that make boto3 use this server only."""
        port = self._server.server_address[1]
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/role",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": "/none",
            "AWS_CONFIG_FILE": "/none",
        }

    def change(self, wait: float = 1.0) -> None:
        """Issue other keys from now on; the old ones expire later."""
        old, number = self.keys[0], self._number + 1
        where = (f"--uid={self.name}", "--key-type=s3")
        self._ceph.admin("key", "create", *where, *self._words(number))
        self._number = number
        time.sleep(wait)
        self._ceph.admin("key", "rm", *where, f"--access-key={old}")

    def _words(self, number: int = 0) -> tuple[str, str]:
        access, secret = self._pair(number)
        return f"--access-key={access}", f"--secret={secret}"

    def _given(self) -> dict[str, str]:
        access, secret = self.keys
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.life))
        return {
            "AccessKeyId": access,
            "SecretAccessKey": secret,
            "Token": f"token-{access}",
            "Expiration": end,
        }

    def __enter__(self) -> RoleCredentials:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
