"""The index: accounts, namespaces, repositories, tokens and search, in a database.

It implements interfaces of `lib`, and knows neither HTTP nor the store. It is imported only if a
database is configured, because SQLAlchemy is large.
"""
