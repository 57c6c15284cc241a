"""The configuration: config.yml and environment variables, checked by one table of options.

`load_config()` returns a frozen `Config`, or raises `ConfigError` with all errors.
"""

from __future__ import annotations

from v1registry.config.errors import ConfigError, Problem
from v1registry.config.load import load_config
from v1registry.config.schema import V2, Config, Limits, Tls

__all__ = ["V2", "Config", "ConfigError", "Limits", "Problem", "Tls", "load_config"]
