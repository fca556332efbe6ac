"""A contact sheet of flows: densities on the line, samples in the plane."""

import warnings

import numpy as np

import pwgf_sym as pw

from .families import ENTRIES

#: Names, initial law, end of the flow, half width of the picture, options of the solver.
ON_THE_LINE = [
    ("Boltzmann entropy", pw.Gaussian([0], 0.1), 1.0, 4, {}),
    ("Porous medium, m = 2", pw.Gaussian([0], 0.1), 1.0, 2.5, {}),
    ("Fast diffusion, m = 1/2", pw.Gaussian([0], 0.1), 0.5, 6, {"tol": 0.1}),
    ("Double well", pw.Gaussian([0.2], 0.3), 1.0, 2, {}),
    ("Student's t", pw.Gaussian([2], 0.3), 2.0, 6, {}),
    ("Desai-Zwanzig", pw.Gaussian([0.2], 0.5), 3.0, 2.5, {}),
    ("Morse potential", pw.Gaussian([0], 0.3), 8.0, 4, {}),
    ("Newtonian attraction on the line", pw.Gaussian([0], 0.2), 2.0, 5, {}),
    ("Kuramoto", pw.Gaussian([0.5], 0.2), 2.0, 4, {"tol": 0.1}),
    ("Log gas", pw.Gaussian([0.3], 0.2), 1.0, 2.5, {}),
    ("Maximum mean discrepancy to data", pw.Gaussian([0], 1.0), 6.0, 4, {}),
    ("Blob Kullback-Leibler", pw.Gaussian([1.5], 0.2), 2.0, 4, {}),
    ("Quantum drift diffusion", pw.Gaussian([0], 0.1), 0.5, 3, {}),
    ("Cahn-Hilliard", pw.Gaussian([0], 0.5), 0.5, 4, {}),
    ("Kernel Stein discrepancy", pw.Gaussian([1.5], 0.3), 3.0, 4, {}),
]
IN_THE_PLANE = [
    ("Banana", pw.Gaussian([0, 0], 0.25), 2.0, 4, {"tol": 0.1}),
    ("Mixture of Gaussians", pw.Gaussian([0, 0], 0.25), 2.0, 4.5, {}),
    ("Quartic aggregation", pw.Gaussian([0, 0], 0.5), 4.0, 2, {}),
    ("Circulation", pw.Gaussian([2, 0], 0.1), 1.0, 3, {}),
    ("Keller-Segel in the plane", pw.Gaussian([0, 0], 0.5), 0.2, 3, {}),
]
COLOURS = ("#c6dbef", "#6baed6", "#2171b5", "#08306b")


def solved(name, law, end, options):
    """The flow of an entry from a law, at four times."""
    one = ENTRIES[name]
    problem = pw.GradientFlow(one.energy, one.rho, law, one.parameters, **one.transport)
    times = {"tol": 3e-2, "save_at": np.linspace(0, end, 4)}
    settings = {"target": "numpy", "max_samples": 1024, **times}
    if not one.has_velocity_form:
        settings["formulation"] = "energy"
    flow = pw.NeuralFlow(one.dim, 12, 2)
    return pw.solve(problem, flow, (0, end), **settings | options)


def contact_sheet(path, columns=5):
    """Write the picture, a flow a panel, from light to dark in time."""
    import matplotlib.pyplot as plt

    panels = [*ON_THE_LINE, *IN_THE_PLANE]
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.2 * columns, 1.75 * rows), dpi=90)
    for axis, (name, law, end, width, options) in zip(axes.flat, panels, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pw.PwgfWarning)
            solution = solved(name, law, end, options)
        draw = on_the_line if law.dim == 1 else in_the_plane
        draw(axis, solution, law, width)
        axis.set_title(f"{name}, to t = {end:g}", fontsize=6)
        axis.tick_params(labelsize=6, length=2)
        print(f"{name:40} {solution.message}")
    figure.tight_layout(pad=0.4)
    figure.savefig(path)
    plt.close(figure)


def on_the_line(axis, solution, law, width):
    """Densities along the map: those of sorted samples, which the map carries."""
    z = law.transform(np.linspace(0.001, 0.999, 400)[:, None])
    for t, colour in zip(solution.t, COLOURS, strict=True):
        x = solution.push(z, t=t)
        order = np.argsort(x[:, 0])
        density = np.exp(solution.log_density(x, t=t))
        axis.plot(x[order, 0], density[order], color=colour, linewidth=1)
    axis.set_xlim(-width, width)
    axis.set_ylim(bottom=0)


def in_the_plane(axis, solution, law, width):
    """Samples at the four times."""
    z = law.sample(300, seed=1)
    for t, colour in zip(solution.t, COLOURS, strict=True):
        axis.plot(*solution.push(z, t=t).T, ".", color=colour, markersize=1.5)
    axis.set_xlim(-width, width)
    axis.set_ylim(-width, width)
