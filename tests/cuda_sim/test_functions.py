"""Every function of the table on a thread of a GPU, in the simulator."""

from functools import cache

import function_cases as cases
import numpy as np
import pytest

from pwgf_sym.compile.store import load_module, write_module
from pwgf_sym.emit.cuda.formulas import ThreadFormulaEmitter
from pwgf_sym.emit.cuda.module import _preamble
from pwgf_sym.emit.cuda.schedule import CudaTiling
from pwgf_sym.emit.writer import Writer

THREADS = 4


@cache
def everything(dtype):
    body, tiling = Writer(), CudaTiling.of(dtype, THREADS)
    ThreadFormulaEmitter(cases.kernel(), tiling, dtype).emit(body)
    text = '"""Functions.\n\ncontent: {content}\n"""\n' + _preamble(body.text(), dtype, THREADS)
    text += body.text()
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
