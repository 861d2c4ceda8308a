"""What a request costs: this SDK against the stock Python backend and against a C floor, in one run."""
