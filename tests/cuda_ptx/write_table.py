"""Writes resources.json: what ptxas says of every kernel of the cases of test_ptx.py."""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from sample_energies import ENERGIES  # noqa: E402
from test_ptx import CASES, MAPS, TABLE, THREADS, functions_of  # noqa: E402

from pwgf_sym.targets.cuda.ptx import compile_ptx, resources  # noqa: E402
from pwgf_sym.targets.program import compile_program  # noqa: E402


def report(energy: str, kind: str, dtype: str, capabilities, folder: str) -> dict:
    """Resources by kernel and architecture."""
    problem = ENERGIES[energy].problem()
    flow = MAPS[kind](problem.dim)
    program = compile_program(problem, flow, target="cuda", dtype=dtype, folder=folder)
    found = {}
    for name, (function, signature) in functions_of(program).items():
        found[name] = {}
        for capability in capabilities:
            own = resources(compile_ptx(function, dtype, capability, signature), capability)
            entry = asdict(own) | {"occupancy": own.occupancy(THREADS, capability)}
            found[name][f"sm_{capability[0]}{capability[1]}"] = entry
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        table = {
            f"{energy}, {kind}, {dtype}": report(energy, kind, dtype, capabilities, folder)
            for energy, kind, dtype, capabilities in CASES
        }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
