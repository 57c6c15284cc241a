"""The Docker Registry v1 protocol: one blueprint a noun (docs/protocol-v1.md)."""
