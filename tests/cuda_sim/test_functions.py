"""Every function of the table on a thread of a GPU, in the simulator."""

from functools import cache

import function_cases as cases
import numpy as np
import pytest

from pwgf_sym.loops.cuda.formulas import ThreadFormulaBuilder
from pwgf_sym.printers.cuda import CudaPrinter
from pwgf_sym.schedule.cuda import CudaTiling
from pwgf_sym.targets.store import load_module, write_module

THREADS = 4


@cache
def everything(dtype):
    printer = CudaPrinter(dtype, THREADS)
    builder = ThreadFormulaBuilder(cases.kernel(), CudaTiling(dtype, THREADS), printer)
    text = '"""Functions.\n\ncontent: {content}\n"""\n' + printer.whole(builder.statements())
    module = load_module(write_module(text, f"cuda_functions_{dtype}"), text)
    columns = cases.points(8, dtype)
    tiles = columns.reshape(len(columns), -1, THREADS).swapaxes(0, 1).copy()
    rows = len(cases.kernel().formulas())
    out = np.empty((len(tiles), rows, THREADS), dtype)
    module.all_functions[1, THREADS](tiles.ravel(), np.zeros(1, dtype), out.reshape(-1), len(out))
    return columns, out.swapaxes(0, 1).reshape(rows, -1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("entry", cases.ENTRIES, ids=lambda e: e.name)
def test_values_and_derivatives(entry, dtype):
    cases.check(entry, *everything(dtype), dtype)
