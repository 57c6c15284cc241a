"""Options for access: standalone, with accounts, or by an index that issues tokens."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "standalone",
        "literal",
        "`true`: the registry needs no index. Every client may do everything, unless `accounts`"
        " or `access` are set. `false`: an index decides who may do what, see `index_endpoint`."
        " There is no default, so that a registry is never open by accident.",
        default=True,
        variable="STANDALONE",
        required=True,
    ),
    Option(
        "disable_token_auth",
        "literal",
        "Do not check tokens although `standalone` is `false`: every client may do everything."
        " Only a literal `true` has this effect.",
        default=False,
        variable="DISABLE_TOKEN_AUTH",
    ),
    Option(
        "index_endpoint",
        "URL",
        "The URL of the index whose tokens are valid. The registry validates each token by a"
        " request to `URL/v1/repositories/NAME/images`.",
        variable="INDEX_ENDPOINT",
    ),
    Option(
        "index_ca",
        "path",
        "A PEM file with the certificate authority (CA) of the index's certificate. Default: the"
        " CAs of the system.",
        variable="INDEX_CA",
    ),
    Option(
        "index_timeout",
        "duration",
        "The longest time to wait for a response of the index. After it, the client gets 503.",
        default="5s",
        variable="INDEX_TIMEOUT",
        at_least=1,
    ),
    Option(
        "index_remember",
        "duration",
        "How long a token that the index has confirmed is valid without another request to the"
        " index.",
        default="30s",
        variable="INDEX_REMEMBER",
    ),
    Option(
        "clock_skew",
        "duration",
        "How far the clocks of the nodes may differ. Tokens of an index and of v2 stay valid this"
        " much longer. Synchronize the clocks by NTP. See [access](access.md#clocks).",
        default="10m",
        variable="CLOCK_SKEW",
    ),
    Option(
        "index_keys",
        "public keys",
        "Public keys of an index that runs v1registry: a list, or a text with commas. The"
        " registry verifies tokens that this index signed without a request. If `index_endpoint`"
        " is set too, the registry asks the index once per `index_remember` whether a token was"
        " revoked; the index may be unreachable. Needs the package cryptography.",
        default=[],
        variable="INDEX_KEYS",
    ),
    Option(
        "accounts.htpasswd",
        "path",
        "A file of names and bcrypt hashes, as `htpasswd -B` writes it. The registry reads the"
        " file again when it changes.",
        variable="ACCOUNTS_HTPASSWD",
    ),
    Option(
        "accounts.user_header",
        "header",
        "A header in which a proxy of `trusted_proxies` names the user, such as `X-Remote-User`."
        " The proxy must remove this header from the requests of clients.",
        variable="ACCOUNTS_USER_HEADER",
    ),
    Option(
        "accounts.groups_header",
        "header",
        "A header in which that proxy names the groups of the user, separated by commas.",
        variable="ACCOUNTS_GROUPS_HEADER",
    ),
    Option(
        "accounts.remember",
        "duration",
        "How long a correct password is accepted without verifying it again.",
        default="1m",
        variable="ACCOUNTS_REMEMBER",
    ),
    Option(
        "accounts.attempts",
        "number",
        "The number of wrong passwords a minute for one account, and three times this number from"
        " one address, before further attempts get 429; 0: no limit. All processes of a node share"
        " the count, and so do all nodes that share a Redis or a database.",
        default=10,
        variable="ACCOUNTS_ATTEMPTS",
    ),
    Option(
        "access",
        "rules",
        "A list of access rules, each with `who` (names, `@group`, `users` for all accounts,"
        " `anybody` for anonymous clients too), `repositories` (patterns with `*`, `?` and"
        " `{user}`) and `allow` (`pull`, `push`, `delete`), one or a list of each. What no rule"
        " allows is refused. Default, if there are accounts: every account may do everything.",
        variable="ACCESS_RULES",
    ),
    Option(
        "ldap.url",
        "LDAP URL",
        "The directory (LDAP server) with the accounts: `ldaps://host` or `ldap://host`. Needs"
        " the package ldap3.",
        variable="LDAP_URL",
    ),
    Option(
        "ldap.start_tls",
        "boolean",
        "Switch an `ldap://` connection to TLS before anything else is sent.",
        default=False,
        variable="LDAP_START_TLS",
    ),
    Option(
        "ldap.ca",
        "path",
        "A PEM file with the certificate authority (CA) of the directory's certificate. Default:"
        " the CAs of the system.",
        variable="LDAP_CA",
    ),
    Option(
        "ldap.user_dn",
        "template",
        "The distinguished name of an account, such as `uid={user},ou=people,dc=example,dc=org`."
        " Alternative: `ldap.base`.",
        variable="LDAP_USER_DN",
    ),
    Option(
        "ldap.base",
        "text",
        "The entry below which the registry searches for accounts.",
        variable="LDAP_BASE",
    ),
    Option(
        "ldap.filter",
        "template",
        "The LDAP filter that finds an account there.",
        default="(uid={user})",
        variable="LDAP_FILTER",
    ),
    Option(
        "ldap.bind_dn",
        "text",
        "The distinguished name that the registry uses to search. Default: an anonymous bind, or"
        " the user's own entry if `ldap.user_dn` is set.",
        variable="LDAP_BIND_DN",
    ),
    Option(
        "ldap.bind_password",
        "text",
        "The password of `ldap.bind_dn`.",
        variable="LDAP_BIND_PASSWORD",
        secret=True,
    ),
    Option(
        "ldap.groups_base",
        "text",
        "The entry below which the registry searches for groups. Default: users are in no groups.",
        variable="LDAP_GROUPS_BASE",
    ),
    Option(
        "ldap.groups_filter",
        "text",
        "The LDAP filter that finds the groups of a user: `{user}` is the name, `{dn}` the"
        " distinguished name of the user.",
        default="(|(member={dn})(uniqueMember={dn})(memberUid={user}))",
        variable="LDAP_GROUPS_FILTER",
    ),
    Option(
        "ldap.groups_attribute",
        "text",
        "The attribute that holds the name of a group.",
        default="cn",
        variable="LDAP_GROUPS_ATTRIBUTE",
    ),
    Option(
        "ldap.timeout",
        "duration",
        "The longest time to wait for the directory. After it, the client gets 503.",
        default="5s",
        variable="LDAP_TIMEOUT",
        at_least=1,
    ),
)
