import sys

import triton_python_backend_utils as pb_utils
from probes import Probes


class TritonPythonModel(Probes):
    def initialize(self, args):
        self.args = args
        pb_utils.Logger.log_info("diff-log: in initialize")

    def each_level(self):
        logger = pb_utils.Logger
        return [
            logger.log_info("diff-log: info"),
            logger.log_warn("diff-log: warn"),
            logger.log_error("diff-log: error"),
            logger.log_verbose("diff-log: verbose"),
        ]

    def with_level(self):
        logger = pb_utils.Logger
        for level in (logger.INFO, logger.WARNING, logger.ERROR, logger.VERBOSE):
            logger.log("diff-log: by level", level)

    def default_level(self):
        return pb_utils.Logger.log("diff-log: no level")

    def keywords(self):
        pb_utils.Logger.log(message="diff-log: keyword", level=pb_utils.Logger.WARNING)
        pb_utils.Logger.log_info(message="diff-log: keyword info")

    def unicode(self):
        pb_utils.Logger.log_info('diff-log: ü ✓ "quoted" \\ back')

    def lines(self):
        pb_utils.Logger.log_info("diff-log: first\nsecond\ttab")

    def percent(self):
        pb_utils.Logger.log_info("diff-log: %s {} %d")

    def long(self):
        pb_utils.Logger.log_info("diff-log: " + "x" * 3000)

    def empty(self):
        return pb_utils.Logger.log_info("")

    def in_function(self):
        def inner():
            pb_utils.Logger.log_info("diff-log: in a function")

        inner()

    def in_evaluated(self):
        exec('pb_utils.Logger.log_info("diff-log: evaluated")', {"pb_utils": pb_utils})

    def wrong_kind(self):
        return pb_utils.Logger.log_info(5)

    def nothing(self):
        return pb_utils.Logger.log_info()

    def none(self):
        return pb_utils.Logger.log_info(None)

    def wrong_level(self):
        return pb_utils.Logger.log("x", 1)

    def instance(self):
        return pb_utils.Logger()

    def bytes(self):
        return pb_utils.Logger.log_info(b"diff-log: bytes")

    def printed(self):
        print("diff-print: out", flush=True)

    def printed_error(self):
        print("diff-print: err", file=sys.stderr, flush=True)

    def finalize(self):
        pb_utils.Logger.log_info("diff-log: in finalize")
