"""The benchmarks of `make bench`: this registry and installed peers, on the loopback interface."""
