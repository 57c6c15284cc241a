"""Accounts in an LDAP directory. A password is verified by a bind as the account."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Iterator
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from v1registry.config.tables.access import LdapOptions
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.running import Within

# Results (RFC 4511, appendix A) that refuse this user. All others are errors of the directory.
_SUCCESS = 0
_REFUSED = {
    16,  # noSuchAttribute
    19,  # constraintViolation: too many wrong passwords, with some policies
    32,  # noSuchObject
    34,  # invalidDNSyntax
    48,  # inappropriateAuthentication: an entry without a password
    49,  # invalidCredentials
    50,  # insufficientAccessRights
    53,  # unwillingToPerform: a locked account, with some servers
}
_MOST_GROUPS = 1000

_log = logging.getLogger(__name__)


class _Tls(ldap3.Tls):  # type: ignore[misc]
    """TLS by Python's default context. ldap3 checks host names by a function that Python removed."""

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        context = ssl.create_default_context(cafile=self.ca_certs_file)
        connection.socket = context.wrap_socket(
            connection.socket,
            server_hostname=connection.server.host,
            do_handshake_on_connect=do_handshake,
        )


class Directory:
    """The accounts of a directory. `within` limits the whole time of a lookup."""

    def __init__(self, options: LdapOptions, within: Within) -> None:
        self._options = options
        self._within = within

    def state(self, user: str) -> str:
        """Return an empty text: only a bind tells whether a password has changed."""
        return ""

    def groups(self, user: str, password: str, address: str) -> frozenset[str] | None:
        """The groups of a user with this password, None for any other.

        Raise Failure 503 if the directory does not answer, or cannot.
        """
        if not user or not password:
            return None  # a bind without a password always succeeds, as anonymous
        if not (user + password).isprintable():
            return None
        try:
            found: frozenset[str] | None = self._within(
                self._options.timeout, lambda: self._look_up(user, password)
            )
        except (LDAPException, OSError) as error:
            _log.warning("The directory %s is unavailable: %s", self._options.url, _reason(error))
            raise Failure(*errors.ACCOUNTS_UNAVAILABLE, {"Retry-After": "5"}) from None
        return found

    def _look_up(self, user: str, password: str) -> frozenset[str] | None:
        options = self._options
        if options.user_dn is not None:
            dn: str | None = options.user_dn.replace("{user}", escape_rdn(user))
        else:
            dn = self._find(user)
        if dn is None:
            return None
        with self._connection(dn, password) as own:
            if not self._bind(own):
                return None
            if not options.groups_base:
                return frozenset()
            if options.bind_dn is None and options.user_dn is not None:
                return self._groups_of(own, user, dn)
        with self._connection(options.bind_dn, options.bind_password) as ours:
            self._must_bind(ours)
            return self._groups_of(ours, user, dn)

    def _find(self, user: str) -> str | None:
        """Return the entry that the filter finds; None if it finds none or several."""
        options = self._options
        wanted = options.filter.replace("{user}", escape_filter_chars(user))
        with self._connection(options.bind_dn, options.bind_password) as ours:
            self._must_bind(ours)
            found = self._search(ours, options.base or "", wanted, [ldap3.NO_ATTRIBUTES], 2)
        return str(found[0]["dn"]) if len(found) == 1 else None

    def _groups_of(self, connection: ldap3.Connection, user: str, dn: str) -> frozenset[str]:
        options = self._options
        names = {"{user}": escape_filter_chars(user), "{dn}": escape_filter_chars(dn)}
        wanted = options.groups_filter
        for word, value in names.items():
            wanted = wanted.replace(word, value)
        attribute = options.groups_attribute
        found = self._search(
            connection, options.groups_base or "", wanted, [attribute], _MOST_GROUPS
        )
        return frozenset(
            value.decode("utf-8", "replace")
            for entry in found
            for name, values in entry["raw_attributes"].items()
            if name.lower() == attribute.lower()
            for value in values
        )

    @contextlib.contextmanager
    def _connection(self, dn: str | None, password: str | None) -> Iterator[ldap3.Connection]:
        """Yield a connection before its bind. ldap3's own `with` binds, and hides why that failed."""
        options = self._options
        # A new object each time: ldap3 would avoid a server for ten minutes after a failure.
        server = ldap3.Server(
            options.url,
            tls=_Tls(ca_certs_file=options.ca),
            get_info=ldap3.NONE,
            connect_timeout=options.timeout,
        )
        connection = ldap3.Connection(
            server,
            user=dn,
            password=password,
            receive_timeout=options.timeout,
            auto_referrals=False,
            return_empty_attributes=False,
        )
        try:
            yield connection
        finally:
            socket = connection.socket  # unbind drops the socket, even if it did not close it
            with contextlib.suppress(LDAPException, OSError):
                connection.unbind()
            if socket is not None:
                socket.close()

    def _bind(self, connection: ldap3.Connection) -> bool:
        """Return whether the directory accepts the connection's name and password."""
        connection.open()
        if self._options.start_tls and not connection.start_tls():
            raise LDAPException("it refuses StartTLS")
        if connection.bind():
            return True
        if connection.result["result"] in _REFUSED:
            return False
        raise LDAPException(str(connection.result["description"]))

    def _must_bind(self, connection: ldap3.Connection) -> None:
        if not self._bind(connection):
            raise LDAPException("it refuses bind_dn and bind_password")

    def _search(
        self, connection: ldap3.Connection, base: str, wanted: str, attributes: list[str], most: int
    ) -> list[dict[str, Any]]:
        connection.search(base, wanted, attributes=attributes, size_limit=most)
        result = connection.result["result"]
        if result not in (_SUCCESS, 4, 32):  # 4: sizeLimitExceeded, the entries so far are used
            raise LDAPException(str(connection.result["description"]))
        entries = connection.response or []
        return [entry for entry in entries if entry["type"] == "searchResEntry"]


def _reason(error: BaseException) -> str:
    """Return the reason of an error in one line, without a user name or a password."""
    if isinstance(error, TimeoutError):
        return "no response within ldap.timeout"
    text = str(error) or type(error).__name__
    return " ".join(text.split())[:200]
