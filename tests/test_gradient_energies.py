"""Gradient energies f(x, rho, grad rho): first variations, gradients by theta, exact flows."""

import numpy as np
import pytest
import sympy as sp
from on_targets import fewer, program_on

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, OptionError
from pwgf_sym.targets.program import compile_program

X1, X2 = pw.coordinates(1), pw.coordinates(2)
R1, R2 = pw.Density(X1), pw.Density(X2)


def squared(rho):
    return sum(rho.diff(s) ** 2 for s in rho.coordinates)


def energies(rho):
    """Energies of the density's gradient by name."""
    x = rho.coordinates
    return {
        "Fisher": pw.integral(squared(rho) / rho, x),
        "Dirichlet": pw.integral(squared(rho) / 2, x),
        "roots": pw.integral(sum(sp.sqrt(rho).diff(s) ** 2 for s in x), x),
        "Cahn-Hilliard": pw.integral(squared(rho) / 3 + (rho**2 - rho) ** 2, x),
        "weighted": pw.integral(sp.exp(-(x[0] ** 2)) * squared(rho) * rho + rho * sp.log(rho), x),
        "of an integral": sp.sqrt(1 + pw.integral(squared(rho) / rho, x)),
    }


NAMES = list(energies(R1))


@pytest.mark.parametrize("name", NAMES)
def test_first_variations_are_gateaux_derivatives(name):
    """Central differences of E(rho + h g), by the trapezoidal rule, exact for such functions."""
    energy = energies(R1)[name]
    (s,), grid = X1, np.linspace(-9, 9, 4001)
    rho = sp.exp(-(s**2) / 2) * (1 + sp.Rational(1, 5) * sp.tanh(s)) / sp.sqrt(2 * sp.pi)
    g = s * sp.exp(-((s - sp.Rational(1, 2)) ** 2))
    width = grid[1] - grid[0]

    def integral(formula):
        return float(np.sum(sp.lambdify(s, formula, "numpy")(grid)) * width)

    def value(h):
        here = rho + sp.Float(h) * g
        found = {
            term: integral(term.integrand.subs(R1, here).doit())
            for term in energy.atoms(pw.declare.energies.EnergyIntegral)
        }
        return float(energy.xreplace(found))

    h = 1e-4
    slopes = [(value(k * h) - value(-k * h)) / (2 * k * h) for k in (1, 2)]
    truth = (4 * slopes[0] - slopes[1]) / 3
    variation = pw.first_variation(energy, R1)
    inner = variation.atoms(pw.declare.energies.EnergyIntegral)
    numbers = {t: integral(t.integrand.subs(R1, rho).doit()) for t in inner}
    formula = variation.xreplace(numbers).subs(R1, rho).doit() * g
    assert abs(integral(formula) - truth) < 1e-7 * max(1, abs(truth))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_against_differences(name, target, tmp_path):
    energy = energies(R2)[name]
    law = pw.Gaussian([0.3, -0.2], [[0.8, 0.2], [0.2, 0.5]])
    problem = pw.GradientFlow(energy, R2, law)
    flow = pw.NeuralFlow(2, 3, 1)
    program = program_on(target, problem, flow, tmp_path)
    rng = np.random.default_rng(0)
    theta = 0.3 * rng.normal(size=program.size)
    samples = program.samples(law.sample(fewer(3, 9), seed=1))
    found = np.asarray(program.slope(theta, samples).gradient)

    def value(theta):
        return program.energy(program.integrals(program.push(theta, samples, "score")))

    for k in rng.choice(program.size, fewer(2, 5), replace=False):
        step = np.zeros(program.size)
        step[k] = 1e-4
        slopes = [(value(theta + h * step) - value(theta - h * step)) / (2e-4 * h) for h in (1, 2)]
        truth = (4 * slopes[0] - slopes[1]) / 3
        assert abs(found[k] - truth) < 1e-6 * max(1, np.abs(found).max())


def test_fisher_information_of_gaussians():
    """d Sigma/dt = 4 Sigma^-1 for the flow of int |grad rho|^2/rho: sigma_i^4 + 8 t."""
    law = pw.Gaussian([1.0, -2.0], [0.5, 1.5])
    problem = pw.GradientFlow(energies(R2)["Fisher"], R2, law)
    options = {"formulation": "energy", "samples": 512, "target": "numpy", "tol": 1e-6}
    solution = pw.solve(problem, pw.Affine(2), (0, 0.5), **options)
    z = np.sqrt(2.0) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    found = solution.push(law.mean + z * np.sqrt([0.5, 1.5]))
    assert np.abs(found.mean(axis=0) - law.mean).max() < 1e-3  # of 512 samples
    truth = np.sqrt(np.array([0.5, 1.5]) ** 2 + 8 * 0.5)
    assert np.abs(found.var(axis=0) / truth - 1).max() < 1e-3


def test_the_form_that_works_is_named():
    problem = pw.GradientFlow(energies(R2)["Fisher"], R2, pw.Gaussian([0.0, 0.0], 1.0))
    with pytest.raises(EnergyError, match=r'third derivatives.*formulation="energy"'):
        pw.solve(problem, pw.Affine(2), (0, 1), target="numpy")
    program = compile_program(problem, pw.Affine(2), "numpy")
    with pytest.raises(EnergyError, match="third derivatives"):
        program.velocity_at(np.zeros((2, 2)))
    assert "Derivative" in str(pw.pde(energies(R1)["Fisher"], R1))
    options = {"formulation": "energy", "samples": 32, "target": "numpy"}
    solution = pw.solve(problem, pw.Affine(2), (0, 0.1), **options)
    assert solution.error_estimate is None and "none: no velocity" in repr(solution)
    with pytest.raises(OptionError, match=r"error_bound: got .*third derivatives.*two maps"):
        solution.error_bound(t=0.1)


@pytest.mark.parametrize("given", [{"drift": [X1[0]]}, {"mobility": R1**2}])
def test_neither_a_drift_nor_a_mobility(given):
    """The message does not send from one form to the other and back."""
    law = pw.Gaussian([0.0], 1.0)
    problem = pw.GradientFlow(energies(R1)["Dirichlet"], R1, law, **given)
    match = rf"got a {next(iter(given))} beside .*third derivatives.*Leave out"
    with pytest.raises(EnergyError, match=match):
        pw.solve(problem, pw.Affine(1), (0, 1), target="numpy")


@pytest.mark.parametrize(
    ("energy", "match"),
    [
        (pw.integral(R1.diff(X1[0], 2) ** 2, X1), "the second derivative.*Integrate by parts"),
        (
            pw.integral(R1.diff(X1[0]) * R1.at(pw.copy_of(X1)), X1, pw.copy_of(X1)),
            "in a double integral",
        ),
    ],
)
def test_derivatives_that_are_refused(energy, match):
    with pytest.raises(EnergyError, match=match):
        pw.first_variation(energy, R1)
