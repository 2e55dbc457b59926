"""Every sentence on a figure, judged part by part: python tools/figure_verdicts.py [DIRECTORY]
(docs/figures.csv).

DIRECTORY, runs/paper by default, is what `make reproduce` wrote: its runs are read, and those that
it lacks are trained (2,000 epochs, seed 0; 4 minutes for all).
"""

import csv
import sys
from pathlib import Path

from eigenloop import figures
from eigenloop.figures.values import FigureData

ROOT = Path(__file__).resolve().parents[1]
CSV = ROOT / "docs" / "figures.csv"
HEADER = ("figure", "topic", "whose", "outcome", "part", "held", "value", "found")


def rows(made: FigureData) -> list[tuple[object, ...]]:
    """One row for each part of each sentence on a figure."""
    return [
        (
            made.number,
            said.sentence.topic,
            said.sentence.whose,
            said.outcome,
            part.what,
            part.held,
            f"{part.value:.6g}",
            part.found,
        )
        for said in made.judgements
        for part in said.parts
    ]


def main() -> int:
    """Write the CSV anew."""
    runs, budget = (
        Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "paper") / "runs",
        figures.Budget(),
    )
    figures.prepare(figures.FIGURES, budget, runs, workers=figures.side_by_side())
    found = [
        row for number in figures.FIGURES for row in rows(figures.compute(number, budget, runs))
    ]
    with CSV.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
