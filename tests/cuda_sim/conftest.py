"""Tests of CUDA kernels in Numba's simulator, which has to be on before Numba is imported.

``tests/test_cuda_simulator.py`` runs them in a process of their own; elsewhere they are left out.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
collect_ignore_glob = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["test_*.py"]
