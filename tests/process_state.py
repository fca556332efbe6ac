"""What a process has in common with all of its libraries: a snapshot, by name."""

import decimal
import gc
import hashlib
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings

import matplotlib
import mpmath
import numba
import numpy as np
import scipy.sparse
import scipy.stats  # noqa: F401, libraries set filters of warnings when they are imported
import sympy as sp
import threadpoolctl
from matplotlib import pyplot as plt
from sympy.core.parameters import global_parameters
from sympy.printing.pretty import pretty_symbology
from sympy.printing.printer import Printer


def signal_handlers():
    return {s.name: signal.getsignal(s) for s in signal.valid_signals() if hasattr(s, "name")}


def umask():
    found = os.umask(0o77)
    os.umask(found)
    return found


def numba_settings():
    names = [name for name in dir(numba.config) if name.isupper()]
    return {name: getattr(numba.config, name) for name in names}


def printers():
    """Settings of SymPy's printers that ``init_printing`` would change."""
    known = [k for k in Printer.__subclasses__() if not k.__module__.startswith("pwgf_sym")]
    kinds = [Printer, *known]
    return {kind.__qualname__: dict(kind._global_settings) for kind in kinds}


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()


def snapshot():
    """Everything of the process that a library could change behind its user's back."""
    pools = threadpoolctl.threadpool_info()
    return {
        "numpy.geterr": np.geterr(),
        "numpy.geterrcall": np.geterrcall(),
        "numpy.random": digest(np.random.get_state(legacy=False)),
        "numpy.printoptions": np.get_printoptions(),
        "random": digest(random.getstate()),
        "numba.config": numba_settings(),
        "numba.threads": numba.get_num_threads(),
        "sympy.printers": printers(),
        "sympy.unicode": pretty_symbology.pretty_use_unicode(),
        "sympy.assumptions": set(sp.assumptions.assume.global_assumptions),
        "sympy.parameters": dict(vars(global_parameters)),
        "mpmath.precision": (mpmath.mp.prec, mpmath.mp.pretty),
        "matplotlib.backend": matplotlib.get_backend(),
        "matplotlib.rcParams": dict(matplotlib.rcParams),
        "matplotlib.figures": plt.get_fignums(),
        "matplotlib.interactive": matplotlib.is_interactive(),
        "warnings.filters": list(warnings.filters),
        "warnings.show": (warnings.showwarning, warnings.formatwarning),
        "signals": signal_handlers(),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "trace": (sys.gettrace(), sys.getprofile()),
        "path": list(sys.path),
        "meta_path": list(sys.meta_path),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "gc": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.callbacks[:]),
        "environ": dict(os.environ),
        "folder": os.getcwd(),
        "umask": umask(),
        "processors": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "priority": os.nice(0),
        "threads of libraries": {p["filepath"]: p["num_threads"] for p in pools},
        # Flags say what has happened; they change no result.
        "decimal": repr(decimal.getcontext()).partition(", flags")[0],
        "logging": (logging.root.level, logging.root.handlers[:]),
    }


def changed(before, after):
    """Names of what has changed, with both values; a library that was loaded since is none."""
    pools = "threads of libraries"
    after = after | {pools: {k: v for k, v in after[pools].items() if k in before[pools]}}
    return {k: (before[k], after[k]) for k in before if before[k] != after[k]}
