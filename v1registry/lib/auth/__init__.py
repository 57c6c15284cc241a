"""Rights: the interfaces that `auth/` and `index/` implement, tokens and passwords."""
