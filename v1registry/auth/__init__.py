"""Who may do what: implementations of `lib.rights.Rights`, chosen by the configuration."""
