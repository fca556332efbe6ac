"""One folder of compiled kernels for the whole run: no test compiles what another one has."""

import os
import re
import shutil
import tempfile
import time
from collections import Counter

import pytest
from amounts import ALL
from simulated import ON_TARGETS, SIMULATOR

_own_folder = None
if "PWGF_SYM_CACHE" not in os.environ:  # before anything can be compiled, also in subprocesses
    _own_folder = tempfile.mkdtemp(prefix="pwgf_sym_tests_")
    os.environ["PWGF_SYM_CACHE"] = _own_folder

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of BLAS that wait take the others' processors
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported


def pytest_unconfigure(config):
    if _own_folder:
        shutil.rmtree(_own_folder, ignore_errors=True)


# Cases that are marked slow: the larger of what also has smaller ones.
SLOW = [
    *(r"test_parameters_may_be_called_anything\[\w+-9", "test_random_potentials"),
    *("test_random_kinks", "test_random_jumps", "test_pictures_are_shown_once"),
    "test_targets_of_this_machine",
    *("test_the_command_in_a_process_of_its_own", "test_changes_would_be_seen"),
    *(
        "test_work_of_an_emission",
        r"test_blocks_padding_and_far_clusters\[(?!quartic-2|gaussian-6-)",
    ),
    *(r"test_a_run_needs_no_streams\[(?!2>&-)", "test_compiled_runge_kutta_exact"),
    *("test_the_process_stays_as_it_was", "test_from_a_zip_file", r"test_closed_streams\[[^0]"),
    *("test_an_ascii_output_takes_all_texts", "test_opponents_agree_with_ours", "test_pairs_agree"),
    *(r"test_both_formulations_give_one_flow\[(?!chi)", r"test_energies_of_divergences\[(?!chi|H)"),
    *("test_a_constant_moves_nothing", "test_random_sums", r"test_wrong_calls_end_in.*\[[1-9]"),
    *(r"test_moved_and_scaled\[(Affine.*velocity|Neural)", "test_single_precision_as_far"),
    *("test_gradient_of_the_energy_compiled", "test_a_relu_moves_samples", "test_slope_by_pieces"),
    *("test_float32_agrees_to_single", "test_powers_of_the_density_scale", "test_damaged_folders"),
    *(r"test_interactions_of_the_distance\[30", "test_a_rough_function_of_the_density_runs"),
    *("test_constants_inside_of_functions", r"test_values_and_derivatives\[exp-float32"),
    *(r"test_texts_that_come_to_a_module\[.\+", "test_pictures_of_a_folded_map_say_so"),
    *("test_warm_starts_save_iterations", r"test_other_processes_get.*\[(spawn|forkserver)"),
    *(r"test_wrong_calls_end_in.*\[0", r"test_a_run_needs_no_streams\[2>&--variables0"),
    *(r"test_all_ways_lead_to_the_same_direction\[cg", r"test_a_residual_may_rise.*\[40"),
    *(r"test_roots_of_moments_have_values\[(?!sqrt)", "test_a_flow_in_mixed_precision_takes"),
    *("test_special_functions_at_difficult", "test_quadratic_in_thirty", "test_partners_react"),
    *(
        "test_random_formulas_come_back",
        "test_first_variation_of_random",
        "test_a_study_runs_solve",
    ),
    *("test_every_public_name", "test_errors_are_those_of_repetition", "test_moved_and_scaled"),
    *(r"test_random_graphs\[check_forward", "test_flows_of_affine_maps_are_solved"),
    *("test_texts_that_come_to_a_module", "test_texts_of_stored_solutions", "test_thirty_dim"),
    *("test_fokker_planck_agrees_with_a_galerkin", "test_names_do_not_depend_on_the_hash"),
    *(
        "test_sample_form_of_random",
        "test_pictures_say_which_samples",
        "test_the_cpu_never",
    ),
    *("test_a_map_without_inverse_falls_back", "test_both_formulations_give_one_flow"),
    r"test_a_loaded_solution_has_the_same_bound\[(?!auto)",
    *("test_a_kink_serves_energies_without_entropy", r"follows_the_tolerance\[rkc"),
    *("test_a_stiff_flow_to_its_exact_answer", "test_no_bound_of_a_folded_map"),
    *("test_ornstein_uhlenbeck_to_1e_6", "test_random_energies", "test_roots_of_moments"),
    *("test_compiled_euler_exact", "test_a_long_flow_ends_there", "test_a_double_well"),
    *("test_rows_of_the_local_part", "test_numpy_against_differences"),
    *("test_moments_and_pairs_compiled", "test_a_nested_activation", "test_cached_across_proc"),
    # Of the simulator the quick tests keep the CUDA suite; what runs on both targets is slow there.
    r"test_cuda_kernels_in_the_simulator\[targets-not slow",
]
# Of a test with so many cases or more the quick tests take one in so many.
MANY, TAKEN = 6, 3
# And in the simulator, where kernels are Python.
SLOW_IN_THE_SIMULATOR = [
    *(r"\[ornstein uhlenbeck", "test_gallery", r"test_the_gradient_is_that.*cuda-2"),
    *(r"test_a_flow_is_that_of_the_cpu\[(?!velocity-lsmr)", r"test_the_host_sees.*\[energy"),
    *(r"test_generated_text\[cuda-(?!affine|euler-trace-1).*N(64|100)", r"\[cuda-rk4-exact-2-7-3"),
    r"test_generated_text_in_single_precision\[cuda-flow1",
    r"test_gradient_of_the_energy\[cuda-(?!exact-mixed|trace-porous)",
    "test_kernels_of_a_map_on_circles",
    *(r"test_kernels_of_structures\[cuda-(?!perm|planar)", "test_gradients_of_scores_of_str"),
    r"test_a_problem_at_a_time.*\[cuda-(?!local|drift)",
]

# What only runs with PWGF_SYM_TESTS=all: the second of two long cases of one kind.
SECOND = [
    *(r"test_desai_and_zwanzig_come_to_rest\[2", r"test_flows_of_affine.*barenblatt_m2_d15"),
    *(r"test_examples_of_the_paper\[aggregation", r"test_a_run_needs_no_streams\[2>&--"),
    r"test_kernels_of_a_map_on_circles\[cuda-rk4",  # their shifts run by Euler, RK4 on the line
]
# Files with the longest tests, these first: a worker that began one last would keep the others.
LONG = [
    *(SIMULATOR, "test_gallery.py", "test_error_bounds.py", "test_flows_with_answers.py"),
    *("test_posteriors.py", "test_benchmarks.py", "test_citizenship.py", "test_circle.py"),
    *("test_exact_problems.py", "test_notebook.py", "test_gather.py", "test_pair_sums.py"),
]
# What would take minutes there, of kernels that other tests run there, too.
NEVER_IN_THE_SIMULATOR = [r"test_kernels_of_a_map_on_circles.*trace"]


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(config, items):
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    slow = re.compile("|".join(SLOW + SLOW_IN_THE_SIMULATOR if simulated else SLOW))
    cases = Counter((item.path, item.originalname) for item in items)
    seen, others = Counter(), []
    for item in items:
        test = item.path, item.originalname
        left_out = cases[test] >= MANY and seen[test] % TAKEN
        if simulated and not ALL and left_out == TAKEN - 1:
            others.append(item)  # the slow tests there take another one in so many
        seen[test] += 1
        if left_out or slow.search(item.name):
            item.add_marker("slow")
    if not ALL:
        others += [item for item in items if re.search("|".join(SECOND), item.name)]
    if simulated:
        never = re.compile("|".join(NEVER_IN_THE_SIMULATOR))
        others += [i for i in items if i.path.name in ON_TARGETS and "target" not in i.fixturenames]
        others += [item for item in items if never.search(item.name)]
    if others:
        left = set(others)
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]


def pytest_generate_tests(metafunc):
    if "target" in metafunc.fixturenames:
        from on_targets import TARGETS

        metafunc.parametrize("target", TARGETS)


@pytest.fixture(scope="session", autouse=True)
def turns_in_the_simulator():
    """Its threads do not run at the same time, which takes four times as long."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        from turns import take_turns

        take_turns()


@pytest.fixture(scope="session", autouse=True)
def several_chunks():
    """The few samples of a test are cut into as many chunks as many samples are."""
    from pwgf_sym.targets import threads

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LEAST_WORK", 1)
        yield


@pytest.fixture(scope="session")
def mixed_program():
    """Double well, entropy and Gaussian attraction in the plane, with a flow of width 10."""
    from sample_energies import ENERGIES

    from pwgf_sym.declare.maps import NeuralFlow
    from pwgf_sym.targets.program import compile_program

    return compile_program(ENERGIES["mixed"].problem(), NeuralFlow(2, 10, steps=3))


@pytest.fixture
def soon():
    """The test takes less than two seconds of the processor."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 2


@pytest.fixture
def nothing_compiles(monkeypatch):
    """A refusal comes before a program is built."""

    def build(*_):
        raise AssertionError("a program was built")

    monkeypatch.setattr("pwgf_sym.solver.flow.build_program", build)
