"""Which tests run in Numba's simulator of CUDA."""

SIMULATOR = "test_cuda_simulator.py"  # starts the processes in which it is on
# What else runs in the simulator: their tests that take the fixture ``target``.
ON_TARGETS = [
    *(
        "test_cancellation.py",
        "test_carried.py",
        "test_circle.py",
        "test_constant_arrays.py",
        "test_convolutions.py",
        "test_density_pairs.py",
        "test_energy_kernels.py",
        "test_map_energies.py",
        "test_map_language.py",
        "test_random_maps.py",
        "test_map_kernels.py",
        "test_pair_sums.py",
        "test_partners.py",
        "test_points.py",
        "test_protocols.py",
    ),
    *(
        "test_families.py",
        "test_gradient_energies.py",
        "test_jacobian_structure.py",
        "test_sums.py",
        "test_time.py",
        "test_triples.py",
        "test_new_operation.py",
        "test_pairs.py",
        "test_rolled.py",
        "test_velocity_jacobian.py",
        "test_written_maps.py",
    ),
]
