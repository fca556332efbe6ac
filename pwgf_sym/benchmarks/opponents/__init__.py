"""Hand-written opponents; each module has ``build(case)`` and ``build_pairs(case, kind)``."""
