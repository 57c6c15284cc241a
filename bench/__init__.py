"""What `make bench` runs: this registry beside the peers that are installed, on the loopback."""
