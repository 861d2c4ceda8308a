"""The boundary to C: declarations, the shim's sources and what compiles them."""
