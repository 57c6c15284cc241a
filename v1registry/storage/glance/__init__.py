"""OpenStack Glance."""
