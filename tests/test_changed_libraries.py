"""Where private parts of a library are not as they are known, a run takes longer, nothing else."""

import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit, types
from numba.core import caching

from pwgf_sym import files
from pwgf_sym.runtime.cuda import toolkit
from pwgf_sym.targets import machine_code, swiftly
from pwgf_sym.targets.store import load_module, write_module

TEXT = '''"""A module, {number}.

content: {content}
"""

from numba import njit

OPTIONS = {"cache": True}


@njit(**OPTIONS)
def weighted(x):
    return {number} * x + 1
'''


class Without:
    """A class of Numba's with parts that are gone, or raise."""


def without(name):
    """Numba's cache, in which a method is not there."""

    class Lacking(caching.FunctionCache):
        def __getattribute__(self, wanted):
            if wanted == name:
                raise AttributeError(name)
            return super().__getattribute__(wanted)

    return Lacking


def lacking_contents(name):
    """The same for the part that takes machine code apart."""

    class Contents(caching.CompileResultCacheImpl):
        def __getattribute__(self, wanted):
            if wanted == name:
                raise AttributeError(name)
            return super().__getattribute__(wanted)

    return type("Lacking", (caching.FunctionCache,), {"_impl_class": Contents})


def other_arguments():
    class Other(caching.FunctionCache):
        def __init__(self, function, more):
            raise AssertionError

    return Other


def other_files():
    class Other(caching.FunctionCache):
        def __init__(self, function):
            super().__init__(function)
            del self._cache_file

    return Other


CACHES = {
    "none": lambda: None,
    "no class": lambda: 7,
    "an empty class": lambda: Without,
    "other arguments": other_arguments,
    "other files": other_files,
    **{name: lambda name=name: without(name) for name in ("_index_key", "_impl", "enable")},
    **{name: lambda name=name: lacking_contents(name) for name in ("reduce", "rebuild", "locator")},
}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.filterwarnings("ignore::pwgf_sym.errors.CacheWarning")  # nothing is kept
def test_another_cache(monkeypatch, tmp_path, kind):
    """Kernels are compiled, in the second process, too."""
    monkeypatch.setattr(files, "_said", set())
    text = TEXT.replace("{number}", str(10 + list(CACHES).index(kind)))
    found = CACHES[kind]()
    monkeypatch.setattr(machine_code, "cache_class", lambda function: found)
    for _ in range(2):
        path = write_module(text, "changed", tmp_path)
        sys.modules.pop(f"pwgf_sym_generated.{path.stem}", None)
        module = load_module(path, text)
        assert module.weighted(2) == module.weighted.py_func(2)
        assert not module.weighted.stats.cache_hits


def test_a_class_of_another_name(monkeypatch):
    function = njit(lambda x: x)
    assert machine_code.cache_class(function) is caching.FunctionCache
    monkeypatch.delattr(caching, "FunctionCache")
    assert machine_code.cache_class(function) is None


def test_a_dispatcher_of_another_kind(monkeypatch, tmp_path):
    """One without a cache is no kernel whose code could be kept."""
    module = SimpleNamespace(__name__="m", f=SimpleNamespace(py_func=lambda: 1), g=7)
    machine_code.keep_machine_code(module, tmp_path, "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["one argument more", "no method", "no numbers", "no families"])
def test_another_search_for_operators(monkeypatch, change):
    before = types.BaseFunction.get_call_type
    fake = SimpleNamespace(BaseFunction=types.BaseFunction, Number=types.Number)
    if change == "one argument more":
        family = type("F", (), {"get_call_type": lambda self, a, b, c, d=None: None})
        fake.BaseFunction = family
    elif change == "no method":
        fake.BaseFunction = type("F", (), {})
    else:
        delattr(fake, "Number" if change == "no numbers" else "BaseFunction")
    monkeypatch.setattr("numba.types", fake)
    assert swiftly._operators_of_numbers() is None
    monkeypatch.setattr(swiftly, "_operators_of_numbers", lambda: None)
    monkeypatch.setattr("numba.types", types)
    seen = []

    def compiled():
        seen.append((gc.isenabled(), types.BaseFunction.get_call_type is before))
        return njit(lambda x: x * x + 1)(3)

    assert swiftly.swiftly(compiled)() == 10
    assert seen == [(False, True)] and gc.isenabled()


@pytest.mark.parametrize("entries", [-1, 2**40, "many"])
def test_another_python(monkeypatch, entries):
    """One that does not let a frame ask for that."""
    monkeypatch.setattr(swiftly, "_ENTRIES", entries)
    call = swiftly._roomy(plain)
    assert call is plain or call(divmod, (7, 2), {}) == (3, 1)


def plain(function, arguments, named):
    return function(*arguments, **named)


# -- CUDA ------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_private(monkeypatch):
    """No module of the target but the target itself."""

    def part(name):
        raise ImportError(name)

    monkeypatch.setattr(toolkit, "part", part)
    monkeypatch.delenv("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", raising=False)
    monkeypatch.setitem(vars(toolkit), "cuda", None)
    return monkeypatch


def test_another_target(nothing_private):
    assert toolkit.__getattr__("cuda").__name__ == "numba.cuda"
    assert toolkit.cuda_cache() is None
    assert isinstance(toolkit.available(), bool)


def test_a_device_function_of_another_kind(nothing_private):
    made = SimpleNamespace(py_func=plain)
    fake = SimpleNamespace(jit=lambda **options: lambda function: made)
    nothing_private.setattr(toolkit, "__getattr__", lambda name: fake)
    assert toolkit.device(plain) is made


def test_no_device_to_stand_in_for(nothing_private):
    from pwgf_sym.targets.cuda import ptx

    nothing_private.setattr(toolkit, "part", lambda name: SimpleNamespace())
    nothing_private.setattr(toolkit, "cuda", SimpleNamespace(is_available=lambda: False))
    with ptx._no_device((9, 0)):
        pass


def test_a_launch_of_another_kind(monkeypatch):
    """Numba launches kernels itself where its own parts are not known, which is said once."""
    from pwgf_sym.targets.cuda import launch

    monkeypatch.setattr(launch, "refused", {})
    monkeypatch.setattr(launch, "_launchers", {})
    ran = []

    class Kernel:
        def __getitem__(self, configuration):
            return lambda *arguments: ran.append((configuration, arguments))

    kernel = Kernel()
    with pytest.warns(RuntimeWarning, match="itself"):
        launch.launch(kernel, 2, 32, 1, 2.5)
    for _ in range(2):
        launch.launch(kernel, 2, 32, 1, np.float64(2.5))
    assert ran == [((2, 32), (1, 2.5))] * 3
