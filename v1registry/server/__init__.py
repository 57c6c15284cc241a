"""The business with gunicorn and gevent; nothing below it knows either of them."""
