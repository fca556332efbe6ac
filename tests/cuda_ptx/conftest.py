"""Tests of PTX: they need numba-cuda and ptxas, and no GPU; without them they are left out."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
missing = find_spec("numba_cuda") is None or os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
collect_ignore_glob = ["test_*.py"] if missing else []
