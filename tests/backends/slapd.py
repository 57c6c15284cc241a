"""A directory for tests: Debian's slapd, on a free port of the loopback, with a few accounts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.live_server import free_port
from tests.needs import require, tool
from tests.rights.tls import certificate
from tests.waiting import wait_for

SUFFIX = "dc=example,dc=org"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{SUFFIX}", "directory secret"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
PASSWORD = "open sesame"

_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
maxsize 16777216
suffix "{suffix}"
rootdn "{admin}"
rootpw "{password}"
directory {folder}/data
# anonymous clients can read only what a bind needs
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * auth
"""
_ENTRIES = """
dn: {suffix}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{suffix}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{suffix}
objectClass: organizationalUnit
ou: groups
"""
_PERSON = """
dn: uid={escaped},ou=people,{suffix}
objectClass: inetOrgPerson
uid: {name}
cn: {name}
sn: {name}
{password}
"""
_GROUP = """
dn: cn={name},ou=groups,{suffix}
objectClass: groupOfNames
cn: {name}
member: uid={member},ou=people,{suffix}
"""


class Slapd:
    """One running directory. `port` speaks LDAP and STARTTLS, `tls_port` LDAPS.

    People: `ada` (in the group `ops`), `bob`, `a*(b)` (in `odd`), and `empty` without a password.
    """

    def __init__(self, folder: Path) -> None:
        require("slapd")
        self._folder = folder
        self.certificate, key = certificate(folder / "tls")
        (folder / "data").mkdir()
        self._conf = folder / "slapd.conf"
        names = {"folder": folder, "suffix": SUFFIX, "admin": ADMIN, "password": ADMIN_PASSWORD}
        self._conf.write_text(_CONF.format(**names, certificate=self.certificate, key=key))
        self._fill()
        self.port, self.tls_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, also again after `stop`, on the same ports."""
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [tool("slapd"), "-f", str(self._conf), "-h", urls, "-d", "0"],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 20
        while not self._answers():
            log_text = (self._folder / "log").read_text()
            assert self._process.poll() is None, log_text
            assert time.monotonic() < end, log_text
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    @contextlib.contextmanager
    def frozen(self):
        """Pause it: it accepts connections, but does not answer."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: _is_stopped(self._process.pid), 20)  # slow on a busy machine
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Slapd:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _fill(self) -> None:
        people = [("ada", "ada"), ("bob", "bob"), ("a*(b)", "a*(b)"), ("empty", "empty")]
        entries = [_ENTRIES.format(suffix=SUFFIX)]
        for name, escaped in people:
            secret = "" if name == "empty" else f"userPassword: {PASSWORD}"
            entries.append(
                _PERSON.format(name=name, escaped=escaped, suffix=SUFFIX, password=secret).strip()
            )
        for name, member in (("ops", "ada"), ("odd", "a*(b)")):
            entries.append(_GROUP.format(name=name, member=member, suffix=SUFFIX).strip())
        text = "\n\n".join(entry.strip() for entry in entries) + "\n"
        subprocess.run(
            [tool("slapadd"), "-f", str(self._conf)],
            input=text.encode(),
            check=True,
            capture_output=True,
            timeout=30,
        )

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def _is_stopped(pid: int) -> bool:
    """Return whether all threads of the process are stopped."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)
