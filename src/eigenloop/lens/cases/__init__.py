"""A simulator of token dynamics with planted spectra, and the cases of arXiv 2605.25619 as claims."""
