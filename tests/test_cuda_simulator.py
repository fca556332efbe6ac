"""Waits for the tests of CUDA, which run in processes of their own with Numba's simulator on."""


def test_cuda_kernels_in_the_simulator(part, chosen, simulators):
    running, text = simulators[part]
    status = running.wait(timeout=1800)
    text.seek(0)
    output = text.read()
    assert status == 0, output[-5000:]
    assert "[100%]" in output  # some ran: with none the exit status is not 0, either
