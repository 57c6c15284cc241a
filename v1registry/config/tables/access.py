"""Who may do what: alone, with accounts, or by an index that gives tokens."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "standalone",
        "literal",
        "`true`: the registry needs no index, and whoever reaches it may do everything unless there"
        " are `accounts` or `access`. `false`: an index says who may do what, see `index_endpoint`."
        " It must be said: what was meant to be checked is never served openly.",
        default=True,
        variable="STANDALONE",
        required=True,
    ),
    Option(
        "disable_token_auth",
        "literal",
        "Do not check tokens though `standalone` is `false`: whoever reaches the port may do"
        " everything. Only a literal `true` counts.",
        default=False,
        variable="DISABLE_TOKEN_AUTH",
    ),
    Option(
        "index_endpoint",
        "URL",
        "The index whose tokens count: it is asked for each token, at"
        " `URL/v1/repositories/NAME/images`.",
        variable="INDEX_ENDPOINT",
    ),
    Option(
        "index_ca",
        "path",
        "A PEM file with the authority that the index's certificate must come from. Default: the"
        " system's.",
        variable="INDEX_CA",
    ),
    Option(
        "index_timeout",
        "duration",
        "How long an answer of the index may take, before the client is told 503.",
        default="5s",
        variable="INDEX_TIMEOUT",
        at_least=1,
    ),
    Option(
        "index_remember",
        "duration",
        "How long a token that the index has confirmed is believed without asking again.",
        default="30s",
        variable="INDEX_REMEMBER",
    ),
    Option(
        "clock_skew",
        "duration",
        "How far the clocks of the machines may differ: tokens of an index and of v2 count this much"
        " longer. Keep the clocks together by NTP. See [access](access.md#clocks).",
        default="10m",
        variable="CLOCK_SKEW",
    ),
    Option(
        "index_keys",
        "public keys",
        "Public keys of an index of ours: a list, or a text with commas. Tokens that it signed are"
        " checked without asking it; with `index_endpoint`, too, it is asked every"
        " `index_remember` whether they still count, and may be away. Needs the package"
        " cryptography.",
        default=[],
        variable="INDEX_KEYS",
    ),
    Option(
        "accounts.htpasswd",
        "path",
        "A file of names and bcrypt hashes, as `htpasswd -B` writes it. Read anew when it changes.",
        variable="ACCOUNTS_HTPASSWD",
    ),
    Option(
        "accounts.user_header",
        "header",
        "A header in which a proxy of `trusted_proxies` says who asks, such as `X-Remote-User`. The"
        " proxy must remove it from what clients send.",
        variable="ACCOUNTS_USER_HEADER",
    ),
    Option(
        "accounts.groups_header",
        "header",
        "Likewise, the groups of that user, with commas.",
        variable="ACCOUNTS_GROUPS_HEADER",
    ),
    Option(
        "accounts.remember",
        "duration",
        "How long a password that was right is believed without computing or asking again.",
        default="1m",
        variable="ACCOUNTS_REMEMBER",
    ),
    Option(
        "accounts.attempts",
        "number",
        "Wrong passwords a minute for one account, and three times as many from one address, after"
        " which the answer is 429; 0: no limit. All processes of a node count together, and all nodes"
        " that share a Redis or a database.",
        default=10,
        variable="ACCOUNTS_ATTEMPTS",
    ),
    Option(
        "access",
        "rules",
        "Who may do what: a list of rules, each with `who` (names, `@group`, `users`: who has an"
        " account, `anybody`), `repositories` (patterns with `*`, `?` and `{user}`) and `allow`"
        " (`pull`, `push`, `delete`), one or a list of each. What no rule allows is refused. Default,"
        " where there are accounts: who has one may do everything.",
        variable="ACCESS_RULES",
    ),
    Option(
        "ldap.url",
        "LDAP URL",
        "A directory that knows the accounts: `ldaps://host` or `ldap://host`. Needs the package"
        " ldap3.",
        variable="LDAP_URL",
    ),
    Option(
        "ldap.start_tls",
        "boolean",
        "Go over to TLS on an `ldap://` connection.",
        default=False,
        variable="LDAP_START_TLS",
    ),
    Option(
        "ldap.ca",
        "path",
        "A PEM file with the authority that the directory's certificate must come from. Default: the"
        " system's.",
        variable="LDAP_CA",
    ),
    Option(
        "ldap.user_dn",
        "template",
        "The entry of an account, such as `uid={user},ou=people,dc=example,dc=org`; or use"
        " `ldap.base`.",
        variable="LDAP_USER_DN",
    ),
    Option(
        "ldap.base",
        "text",
        "Below which entry accounts are looked for.",
        variable="LDAP_BASE",
    ),
    Option(
        "ldap.filter",
        "template",
        "What is looked for there.",
        default="(uid={user})",
        variable="LDAP_FILTER",
    ),
    Option(
        "ldap.bind_dn",
        "text",
        "As whom we look. Default: nobody in particular, or the user himself where `ldap.user_dn`"
        " says who that is.",
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
        "Below which entry groups are looked for. Default: users are in no groups.",
        variable="LDAP_GROUPS_BASE",
    ),
    Option(
        "ldap.groups_filter",
        "text",
        "The groups of a user: `{user}` is the name, `{dn}` the user's entry.",
        default="(|(member={dn})(uniqueMember={dn})(memberUid={user}))",
        variable="LDAP_GROUPS_FILTER",
    ),
    Option(
        "ldap.groups_attribute",
        "text",
        "The attribute that holds a group's name.",
        default="cn",
        variable="LDAP_GROUPS_ATTRIBUTE",
    ),
    Option(
        "ldap.timeout",
        "duration",
        "How long the directory may take, before the client is told 503.",
        default="5s",
        variable="LDAP_TIMEOUT",
        at_least=1,
    ),
)
