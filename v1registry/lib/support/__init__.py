"""Helpers without knowledge of images: cache, lease, throttle, periodic tasks."""
