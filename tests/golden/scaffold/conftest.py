collect_ignore_glob = ["*"]  # text to compare with, not tests to run
