"""What any looped map does: where it goes, how fast, with what certificate, and how many loops are
worth running.

    from eigenloop.loops import LoopedMap, diagnose
    found = diagnose(LoopedMap.numpy(step, x0), loops=64)

The core is NumPy and SciPy on flat float64 vectors; JAX and PyTorch come in through an adapter
each, when one is used.
"""

from eigenloop.system.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "brackets": "Bracket PowerNorm bracket lower_end power_norm shortfall",
        "diagnosis": "Diagnosis diagnose",
        "starts": "Ends Slice ends random_starts slice_ends",
        "lyapunov": "Exponents exponents",
        "fixed_points": "FixedPoint anderson fixed_point",
        "forecast": "Exit Needed distance_left exit_factor loops_count loops_needed_to",
        "readouts": "divergence usefulness",
        "region": "Region allowance linear_region",
        "linear": "Linear",
        "maps": "LoopedMap",
        "modes": "Mode Spectrum search_missed spectrum",
        "orbits": "Orbit left_rate orbit",
        "page": "diagnosis_page write_diagnosis",
        "paper": "PaperCase paper_case",
        "snapshots": "Snapshots",
        "trees": "Tree",
        "user_file": "UserFile loop_of_file map_of_file",
        "verdicts": "Evidence Verdict stability verdict",
    },
)
