"""Server-rendered pages for people, below `/ui/`.

They use the accounts, the rights and the services of the API, and add no rule of their own.
"""
