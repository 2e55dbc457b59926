"""Power-method dynamics in pretrained transformers: which directions each layer's F = W_O W_V amplifies."""

# Eager, and light (NumPy): `circuits` is a module and a function of this package, and the function is the public name.
from eigenloop.lens.circuits import Circuit, Norm, circuits, planted
from eigenloop.lens.layouts import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Circuit", "Layout", "Norm", "circuits", "planted"]
