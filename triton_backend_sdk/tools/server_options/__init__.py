"""tritonserver's command line: typed, checked, and held against what the server at hand has."""
