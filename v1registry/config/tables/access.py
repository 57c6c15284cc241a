"""Options for access: standalone, with accounts, or by an index that issues tokens."""

from __future__ import annotations

from v1registry.config.access import Rule
from v1registry.config.option import group, option, table


@table
class AccountOptions:
    """The group `accounts`: who a client is."""

    htpasswd: str | None = option("path")
    """A file of names and bcrypt hashes, as `htpasswd -B` writes it. The registry reads the file
    again when it changes."""

    user_header: str | None = option("header")
    """A header in which a proxy of `trusted_proxies` names the user, such as `X-Remote-User`. The
    proxy must remove this header from the requests of clients."""

    groups_header: str | None = option("header")
    """A header in which that proxy names the groups of the user, separated by commas."""

    remember: int = option("duration", "1m")
    """How long a correct password is accepted without verifying it again."""

    attempts: int = option("number", 10)
    """The number of wrong passwords a minute for one account, and three times this number from one
    address, before further attempts get 429; 0: no limit. All processes of a node share the count,
    and so do all nodes that share a Redis or a database."""


@table
class LdapOptions:
    """The group `ldap`: a directory with accounts."""

    url: str | None = option("LDAP URL")
    """The directory (LDAP server) with the accounts: `ldaps://host` or `ldap://host`. Needs the
    package ldap3."""

    start_tls: bool = option("boolean", False)
    """Switch an `ldap://` connection to TLS before anything else is sent."""

    ca: str | None = option("path")
    """A PEM file with the certificate authority (CA) of the directory's certificate. Default: the
    CAs of the system."""

    user_dn: str | None = option("template")
    """The distinguished name of an account, such as `uid={user},ou=people,dc=example,dc=org`.
    Alternative: `ldap.base`."""

    base: str | None = option("text")
    """The entry below which the registry searches for accounts."""

    filter: str = option("template", "(uid={user})")
    """The LDAP filter that finds an account there."""

    bind_dn: str | None = option("text")
    """The distinguished name that the registry uses to search. Default: an anonymous bind, or the
    user's own entry if `ldap.user_dn` is set."""

    bind_password: str | None = option("text", secret=True)
    """The password of `ldap.bind_dn`."""

    groups_base: str | None = option("text")
    """The entry below which the registry searches for groups. Default: users are in no groups."""

    groups_filter: str = option("text", "(|(member={dn})(uniqueMember={dn})(memberUid={user}))")
    """The LDAP filter that finds the groups of a user: `{user}` is the name, `{dn}` the
    distinguished name of the user."""

    groups_attribute: str = option("text", "cn")
    """The attribute that holds the name of a group."""

    timeout: int = option("duration", "5s", at_least=1)
    """The longest time to wait for the directory. After it, the client gets 503."""


@table
class AccessOptions:
    """Options for access."""

    standalone: bool = option("literal", True, required=True)
    """`true`: the registry needs no index. Every client may do everything, unless `accounts` or
    `access` are set. `false`: an index decides who may do what, see `index_endpoint`. There is no
    default, so that a registry is never open by accident."""

    disable_token_auth: bool = option("literal", False)
    """Do not check tokens although `standalone` is `false`: every client may do everything. Only a
    literal `true` has this effect."""

    index_endpoint: str | None = option("URL")
    """The URL of the index whose tokens are valid. The registry validates each token by a request
    to `URL/v1/repositories/NAME/images`."""

    index_ca: str | None = option("path")
    """A PEM file with the certificate authority (CA) of the index's certificate. Default: the CAs
    of the system."""

    index_timeout: int = option("duration", "5s", at_least=1)
    """The longest time to wait for a response of the index. After it, the client gets 503."""

    index_remember: int = option("duration", "30s")
    """How long a token that the index has confirmed is valid without another request to the
    index."""

    clock_skew: int = option("duration", "10m")
    """How far the clocks of the nodes may differ. Tokens of an index and of v2 stay valid this much
    longer. Synchronize the clocks by NTP. See [access](access.md#clocks)."""

    index_keys: tuple[str, ...] = option("public keys", [])
    """Public keys of an index that runs v1registry: a list, or a text with commas. The registry
    verifies tokens that this index signed without a request. If `index_endpoint` is set too, the
    registry asks the index once per `index_remember` whether a token was revoked; the index may be
    unreachable. Needs the package cryptography."""

    accounts: AccountOptions = group(AccountOptions)

    ldap: LdapOptions = group(LdapOptions)

    admins: tuple[str, ...] = option("words", [])
    """The users who administer the registry over HTTP (`/v1/admin/` and the page of the store):
    names of accounts of `accounts.htpasswd`, `ldap` or `accounts.user_header`. With an index of our
    own, use `v1registry index user admin` instead."""

    access: tuple[Rule, ...] | None = option("rules", variable="ACCESS_RULES")
    """A list of access rules, each with `who` (names, `@group`, `users` for all accounts, `anybody`
    for anonymous clients too), `repositories` (patterns with `*`, `?` and `{user}`) and `allow`
    (`pull`, `push`, `delete`), one or a list of each. What no rule allows is refused. Default, if
    there are accounts: every account may do everything."""
