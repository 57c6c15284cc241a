"""The tables of options, one module a subject. `Config` (module `schema`) unites them."""
