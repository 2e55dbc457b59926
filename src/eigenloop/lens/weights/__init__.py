"""What the weights alone say: circuits, modes, spectra, query-key products, nearest tokens,
comparisons (NumPy).
"""
