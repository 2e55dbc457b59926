"""Ledgers of invented claims, as the text of a module."""

from collections.abc import Callable

from eigenloop.claims.sources import Source

LEDGER = """
    import os
    import time

    import numpy as np

    from eigenloop.claims import Curve, Finding, Ledger, Plot, every, within, within_sigmas
    from eigenloop.system.errors import InputError

    shelf = Ledger("arXiv 2606.00605")
    t = np.logspace(0, 4, 500)

    @shelf.claim(
        "thm4.1.growth",
        "Weights grow like t^{1/4}.",
        place="Thm 4.1",
        provenance="stated",
        quote='"diverges at the rate" (Section 4.1)',
    )
    def growth(effort):
        points = Curve("read off", range(1, 3), (1, 1.8), points=True)
        plot = Plot([Curve("a", t, t**0.25), points], "step t", "a")
        numbers = {"steps": effort.pick(10, 1000), "ends": list(range(12)), "lost": float("inf")}
        return within(
            measured=0.251,
            expected=0.25,
            tolerance=0.01,
            justification="next order",
            numbers=numbers,
            plot=plot,
        )

    @shelf.claim("thm4.10.other", "Another theorem.", place="Thm 4.10", provenance="ours")
    def other(effort):
        where = [int(os.environ.get(name, "0")) for name in ("OMP_NUM_THREADS", "NPROC")]
        return Finding("holds", [os.getpid(), *where], None)

    @shelf.claim("thm4.1.random", "A number drawn.", place="Thm 4.1", provenance="ours")
    def random(effort):
        drawn = effort.generator(3).normal()
        return within_sigmas(measured=drawn, expected=0.0, standard_error=1.0)

    @shelf.claim(
        "fig1c", "One rate fits.", place="Fig. 1(c)", provenance="figure", expected_verdict="fails"
    )
    def figure(effort):
        return Finding("fails", None, 0.1, note="none fits")
"""
REST = {
    "broken": (
        """
    @shelf.claim("bad.broken", "It breaks.", place="", provenance="ours")
    def broken(effort):
        return within(measured=1 / 0, expected=1.0, tolerance=0.1, justification="")
    """
    ),
    "refused": (
        """
    @shelf.claim("bad.refused", "It raises what a user's input would.", place="", provenance="ours")
    def refused(effort):
        raise InputError("--dim is 0")
    """
    ),
    "news": (
        """
    @shelf.claim("bad.news", "It has begun to fail.", place="Lemma 1", provenance="ours")
    def news(effort):
        return every(9, 10, justification="an inequality", note="rounding")
    """
    ),
    "extra": (
        """
    @shelf.claim("lens.extra", "It needs a library.", place="", provenance="ours")
    def extra(effort):
        import no_such_library
    """
    ),
    "sleeps": (
        """
    @shelf.claim("slow.sleeps", "It takes long.", place="", provenance="ours")
    def sleeps(effort):
        time.sleep(300)
    """
    ),
    "shared": (
        """
    from functools import cache

    @cache
    def run():
        return os.urandom(8).hex()

    @shelf.claim("shared.first", "It judges a run.", place="", provenance="ours", shared_run="one")
    def first(effort):
        return Finding("holds", [os.getpid()], run())

    @shelf.claim(
        "shared.second", "It judges the same run.", place="", provenance="ours", shared_run="one"
    )
    def second(effort):
        time.sleep(0.2)
        return Finding("holds", [os.getpid()], run())
    """
    ),
    "killed": (
        """
    @shelf.claim("bad.killed", "Its process is killed.", place="", provenance="ours")
    def killed(effort):
        os.kill(os.getpid(), 9)
    """
    ),
}
PLAIN = ["thm4.1.growth", "thm4.10.other", "thm4.1.random", "fig1c"]
Shelve = Callable[..., Source]
