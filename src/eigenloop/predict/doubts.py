"""What a table's reader may have meant otherwise, and by how much that would turn the answer
(NumPy).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from jaxtyping import Float

from eigenloop.predict.sheets import Sheet, shortened
from eigenloop.system.errors import InputError

CHANCE = 0.01
"""A column of whole numbers is in order by chance less often than this before anything is said."""

SEPARATELY = 3
"""Up to so many such columns are doubted one by one, each with its own angle; more in one
sentence.
"""

IDENTIFIER = re.compile(
    r"(.*[\W_])?(id|ids|identifier|index|idx|code|key|number|nr|no|uuid|obs|row[._]?names?|row)",
    re.IGNORECASE,
)
ROW_NUMBER = re.compile(
    r"(unnamed: ?0|index|level_0|id|no|nr|row|row[._]?names?|obs|observation|#|column 1)\.?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Doubt:
    """A second way to read a table.

    Args:
        sentence: what was done, and why it may be wrong.
        remedy: the option that reads it otherwise.
        rows: the table read otherwise; None where that is no table.
        columns: positions of its columns among the table's own.
    """

    sentence: str
    remedy: str
    rows: Callable[[], Float[np.ndarray, "n d"]] | None
    columns: tuple[int, ...]


def doubts_of(
    sheet: Sheet, kept: Sequence[int], whole: np.ndarray, *, asked: bool
) -> tuple[Doubt, ...]:
    """The doubts of a table.

    Args:
        sheet: that it is from.
        kept: its columns.
        whole: (n,), its rows.
        asked: whether its columns were named one by one, so that none of them can be there by
            mistake.
    """
    rows = sheet.numbers[whole][:, list(kept)]
    everything = tuple(range(len(kept)))
    found = []
    if sheet.question and sheet.first_line is not None:
        line = sheet.first_line[list(kept)]
        readable = not np.isnan(line).any()
        if sheet.headed:
            other = (lambda: np.vstack([line, rows])) if readable else None
            found.append(
                Doubt(sheet.question, "--no-header reads it as a sample", other, everything)
            )
        elif readable and whole[0]:
            found.append(
                Doubt(sheet.question, "--header reads it as names", lambda: rows[1:], everything)
            )
    if sheet.thousands is not None:
        scaled = sheet.thousands[whole][:, list(kept)]
        found.append(
            Doubt(
                "every comma was read as a decimal comma, although each may separate thousands"
                " (1,234 as 1234)",
                "write such numbers without separators",
                lambda: scaled,
                everything,
            )
        )
    suspects = (
        []
        if asked
        else [k for k, j in enumerate(kept) if _may_be_an_identifier(sheet.names[j], rows[:, k])]
    )
    for group in [[k] for k in suspects] if len(suspects) <= SEPARATELY else [suspects]:
        names = ", ".join(
            repr(shortened(sheet.names[kept[k]], 30)) for k in group[:5]
        ) + ", ..." * (len(group) > 5)
        others = tuple(k for k in everything if k not in group)
        words = (
            ("columns {}", "them", "were read as features")
            if len(group) > 1
            else ("column {}", "it", "was read as a feature")
        )
        found.append(
            Doubt(
                f"{words[0].format(names)} may number the rows or be a time or a label, and"
                f" {words[2]}",
                f"--drop {','.join(str(kept[k] + 1) for k in group)} leaves {words[1]} out",
                _without(rows, others) if len(others) > 1 else None,
                others,
            )
        )
    return tuple(found)


def _without(
    rows: Float[np.ndarray, "n d"], others: tuple[int, ...]
) -> Callable[[], Float[np.ndarray, "n e"]]:
    return lambda: rows[:, others]


def warnings(
    doubts: Sequence[Doubt],
    direction: Callable[[np.ndarray], np.ndarray],
    basis: Float[np.ndarray, "d m"],
) -> list[str]:
    """The doubts in words, with the angle where it is more than a degree.

    Args:
        doubts: of a table.
        direction: gives a table's principal component, treated as the user asked.
        basis: of the table's own principal subspace.
    """
    said = []
    for doubt in doubts:
        words = f"{doubt.sentence}; {doubt.remedy}"
        if doubt.rows is not None:
            try:
                other = np.zeros(basis.shape[0])
                other[list(doubt.columns)] = direction(doubt.rows())
            except InputError:
                pass
            else:
                turned = np.degrees(
                    np.arcsin(min(1.0, float(np.linalg.norm(other - basis @ (basis.T @ other)))))
                )
                words += (
                    f", which turns the component by {turned:.0f} degrees" if turned > 1 else ""
                )
        said.append(words)
    return said


def is_row_number(name: str, values: Float[np.ndarray, " n"]) -> bool:
    """Whether a column with such a name is 0, 1, 2, ... or 1, 2, 3, ...

    Example:
        >>> is_row_number("Unnamed: 0", np.arange(3.0)), is_row_number("age", np.arange(3.0))
        (True, False)
    """
    return bool(
        ROW_NUMBER.fullmatch(name.strip())
        and len(values) > 1
        and values[0] in (0, 1)
        and np.array_equal(values, values[0] + np.arange(len(values)))
    )


def _may_be_an_identifier(name: str, values: Float[np.ndarray, " n"]) -> bool:
    """Whole numbers in an order that chance would not give, or all different under the name of
    an identifier.
    """
    if np.any(values != np.rint(values)):
        return False
    _, counts = np.unique(values, return_counts=True)
    if len(counts) < 2:
        return False
    # two of the n!/(c_1! c_2! ...) orders of such values
    if np.all(values[1:] >= values[:-1]) or np.all(values[1:] <= values[:-1]):
        orders = lgamma(len(values) + 1) - sum(lgamma(count + 1.0) for count in counts)
        return log(2) - orders < log(CHANCE)
    return len(counts) == len(values) > 3 and IDENTIFIER.fullmatch(name.strip()) is not None


__all__ = ["Doubt", "doubts_of", "is_row_number", "warnings"]
