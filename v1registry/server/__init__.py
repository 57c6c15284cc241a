"""Everything that depends on gunicorn and gevent. No other package imports them."""
