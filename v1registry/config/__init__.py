"""The configuration: config.yml and environment variables, checked by one table of options.

`load_config()` returns a frozen `Config`, or raises `ConfigError` with all errors.
"""

from __future__ import annotations

from v1registry.config.errors import ConfigError, Problem
from v1registry.config.load import load_config
from v1registry.config.schema import Config

__all__ = ["Config", "ConfigError", "Problem", "load_config"]
