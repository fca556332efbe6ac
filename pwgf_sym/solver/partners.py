"""What a number of partners is for, and what sums over three samples cost: checked before a run."""

from __future__ import annotations

from dataclasses import replace

from ..derive.variation import Terms
from ..errors import OptionError
from .options import FlowOptions

__all__ = ["with_partners"]

# Samples up to which integrals over three copies take all of them: 17 million triples a pass.  And
# those on which the defect is measured, with all their triples, unless told otherwise.
MOST_IN_TRIPLES, FRESH_IN_TRIPLES = 256, 128


def with_partners(options: FlowOptions, terms: Terms, fresh: int | None) -> FlowOptions:
    """The same options where the energy has interactions, checked.

    Parameters
    ----------
    options : FlowOptions
        With nothing left open.
    terms : Terms
        The energy, taken apart.
    fresh : int or None
        Number of fresh samples that was given.

    Raises
    ------
    OptionError
        For a number of partners where no sample has any, for a single one where three samples
        meet, for fewer samples than meet, and for so many of them without such a number that a pass
        would take minutes.
    """
    samples, partners = options.samples, options.samples.partners
    triple = any(term.triple for term in terms.terms)
    alone = all(term.single for term in terms.terms) and not terms.convolutions
    if partners is not None and alone:
        given, accepted = f"{partners}, for an energy without interactions", "None"
        fix = "Leave partners out: only means over a second copy of the space have partners."
        raise OptionError("partners", given, accepted, fix)
    _check_meetings(options, max(term.copies for term in terms.terms))
    if not triple:
        return options
    if partners == 1:
        given, accepted = "1, for an integral over three copies", "an integer of at least 2"
        raise OptionError("partners", given, accepted)
    number = options.number
    if partners is None and number > MOST_IN_TRIPLES:
        given = f"None, for an integral over three copies: {number**3:.1e} triples of {number}"
        accepted = f"a number of partners, or at most {MOST_IN_TRIPLES} samples"
        fix = f"Use partners=32, or samples={MOST_IN_TRIPLES}; partners={number - 1} takes all."
        raise OptionError("partners", f"{given} samples", accepted, fix)
    if fresh is None:
        return replace(options, samples=replace(samples, fresh=min(number, FRESH_IN_TRIPLES)))
    if fresh > MOST_IN_TRIPLES:
        given = f"{fresh}, for an integral over three copies, whose defect takes all triples"
        accepted = f"at most {MOST_IN_TRIPLES}"
        raise OptionError("fresh_samples", given, accepted, f"By default it is {FRESH_IN_TRIPLES}.")
    return options


def _check_meetings(options: FlowOptions, least: int) -> None:
    """Refuse fewer samples than meet in an integral: there would be no force."""
    if options.number < least:
        given = f"{options.number}, for an integral over {least} copies of the space"
        raise OptionError(
            "samples", given, f"at least {least}: samples are no partners of their own"
        )
