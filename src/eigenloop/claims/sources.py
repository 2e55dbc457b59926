"""Which claims there are, by the modules that hold them, and a choice of them by name."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from eigenloop.claims.ledger import Claim, Finding, Ledger
from eigenloop.system.errors import InputError

NEAREST = 5
"""Names that are offered for one that is none."""


@dataclass(frozen=True)
class Source:
    """A module that holds ledgers.

    Args:
        module: its full name; skipped where this version of the package has no such module.
        extra: the optional dependencies that it or its claims may need.
    """

    module: str
    extra: str | None = None


SOURCES: tuple[Source, ...] = (
    Source("eigenloop.theory.claims.theorems"),
    Source("eigenloop.theory.claims.power_method"),
    Source("eigenloop.theory.claims.lemmas"),
    Source("eigenloop.figures.claims"),
    Source("eigenloop.theory.claims.stability"),
    Source("eigenloop.theory.claims.training"),
    Source("eigenloop.theory.claims.optimisers"),
    Source("eigenloop.theory.claims.filters"),
    Source("eigenloop.theory.claims.layers"),
    Source("eigenloop.loops.claims"),
    Source("eigenloop.lens.cases.uniform", extra="lens"),
    Source("eigenloop.lens.text.claims", extra="lens"),
    Source("eigenloop.lens.loops.claims", extra="lens"),
    Source("eigenloop.steer.claims", extra="lens"),
    Source("eigenloop.steer.retrieval_claims", extra="lens"),
)
"""Where claims are looked for, in this order."""


@dataclass(frozen=True)
class Entry:
    """A claim, and the source that another process finds it in."""

    claim: Claim
    source: Source


def collect(sources: Sequence[Source] | None = None) -> list[Entry]:
    """Every claim of every source (all of `SOURCES` by default), in order.

    A source whose optional dependencies are missing gives one entry that stands for all its claims
    and is not run.

    Raises:
        ValueError: two claims with one identifier.
    """
    found: list[Entry] = []
    for source in SOURCES if sources is None else sources:
        try:
            claims = _claims(source.module)
        except ModuleNotFoundError as error:
            if f"{source.module}.".startswith(f"{error.name}."):
                continue
            if not is_missing_extra(error, source):
                raise
            claims = [_stand_in(source)]
        found += [Entry(claim, source) for claim in claims]
    ids = [entry.claim.id for entry in found]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise ValueError(f"claim {twice[0]!r} is written in two modules")
    return found


def select(entries: Sequence[Entry], only: str | None) -> list[Entry]:
    """Those that `only` names: identifiers or their beginnings, separated by commas; a number must
    be whole.

    Args:
        entries: as from `collect`.
        only: "thm4.1,lemA.4.sign", in upper or lower case; None for all.

    Raises:
        InputError: a name that fits no claim; gives the nearest ones.

    Example:
        >>> nothing = lambda effort: None
        >>> some = [
        ...     Claim(id, "", "", nothing, "ours")
        ...     for id in ("thm4.1.rate", "thm4.10", "fig2.losses", "fig2b.ln")
        ... ]
        >>> demo = [Entry(claim, Source("demo")) for claim in some]
        >>> [entry.claim.id for entry in select(demo, "thm4.1, Fig2.")]
        ['thm4.1.rate', 'fig2.losses', 'fig2b.ln']
    """
    if only is None:
        return list(entries)
    asked = names_of(only)
    if not asked:
        raise InputError(
            f"--only is {only!r}; give claims separated by commas, e.g. thm4.1, or leave it out"
        )
    known = [entry.claim.id for entry in entries]
    for name in asked:
        if not any(_names(name, id) for id in known):
            raise InputError(
                f"--only names {name!r}, which begins no claim's name; {_near(name, known)}"
            )
    return [entry for entry in entries if any(_names(name, entry.claim.id) for name in asked)]


def names_of(only: str) -> list[str]:
    """The names in a choice, as they are compared: lower case, no dot at the end.

    Example:
        >>> names_of("thm4.1, Fig2.,")
        ['thm4.1', 'fig2']
    """
    names = (name.strip().rstrip(".").lower() for name in only.split(","))
    return list(dict.fromkeys(name for name in names if name))


def _claims(module: str) -> list[Claim]:
    """What the ledgers of a module hold."""
    found = vars(importlib.import_module(module)).values()
    ledgers = {id(value): value for value in found if isinstance(value, Ledger)}
    return [claim for ledger in ledgers.values() for claim in ledger.claims]


def is_missing_extra(error: Exception, source: Source) -> bool:
    """Whether an optional dependency of the source is missing, rather than a module of ours."""
    ours = (
        isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "eigenloop"
    )
    return isinstance(error, ModuleNotFoundError) and source.extra is not None and not ours


def not_run(source: Source) -> Finding:
    """What a claim comes to where the source's optional dependencies are missing."""
    return Finding("not run", None, None, note=f"needs eigenloop[{source.extra}]")


def _stand_in(source: Source) -> Claim:
    name = source.module.removeprefix("eigenloop.")
    return Claim(
        name,
        f"The claims of {source.module}.",
        source.module,
        lambda effort: not_run(source),
        "ours",
    )


def _names(name: str, id: str) -> bool:
    rest = id.lower().removeprefix(name)
    begins = len(rest) == len(id) - len(name)
    # thm4.1 is not the beginning of thm4.10
    return begins and not (name[-1].isdigit() and rest[:1].isdigit())


def _near(name: str, known: Sequence[str]) -> str:
    """The names that one may have meant: the nearest identifiers and groups, or else all groups."""
    if not known:
        return "this version holds no claims"
    groups = list(dict.fromkeys(id.rpartition(".")[0] or id for id in known))
    spelled = {word.lower(): word for word in [*groups, *known]}
    found = get_close_matches(name, spelled, n=NEAREST, cutoff=0.7)
    return (
        f"nearest are {', '.join(spelled[word] for word in found)}"
        if found
        else f"known are {', '.join(groups)}"
    )
