"""``python -m triton_backend_sdk`` is ``tbsdk``."""

import sys

from triton_backend_sdk.cli import main

sys.exit(main())
