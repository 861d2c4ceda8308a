"""A package."""

WORD = "package of imports"
