"""Write the generated modules of the gallery into generated/, for the machine ``Machine()``.

Run it after a change of the compiler; a test holds the committed modules against fresh ones.
"""

import runpy
from pathlib import Path

from pwgf_sym.emit.module import cpu_target, emit_module
from pwgf_sym.schedule.cpu import Machine
from pwgf_sym.targets.store import seal

EXAMPLES = Path(__file__).parent


def gallery() -> dict:
    """Problem and map of every example, by the name of its generated module."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.py")):
        if path.name == Path(__file__).name:
            continue
        names = runpy.run_path(str(path), run_name="gallery")
        single = {path.stem: (names["problem"], names["flow"])} if "problem" in names else {}
        found.update(names.get("gallery", single))
    return found


def emitted(problem, flow) -> str:
    """The text of a generated module, with its content hash."""
    return seal(
        emit_module(problem.energy, problem.density, flow, cpu_target("float64", Machine())).text
    )


if __name__ == "__main__":
    target = EXAMPLES.parent / "generated"
    target.mkdir(exist_ok=True)
    for name, (problem, flow) in gallery().items():
        (target / f"{name}.py").write_text(emitted(problem, flow))
        print(target / f"{name}.py")
