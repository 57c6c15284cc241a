"""`python -m v1registry.server`: gunicorn's command line with our master. `v1registry serve` runs it."""

from v1registry.server.master import Application

if __name__ == "__main__":
    Application("%(prog)s [OPTIONS]", prog="v1registry serve").run()
