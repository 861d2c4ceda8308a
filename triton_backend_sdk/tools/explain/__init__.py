"""What went wrong in a tritonserver's log, why, and what to do."""
