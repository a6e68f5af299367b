#!/usr/bin/env python3
"""Print the version of an installed Python distribution, for the versions table."""

import sys
from importlib.metadata import version

print(version(sys.argv[1]))
