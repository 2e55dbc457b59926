"""Results of the lens as sections of a page."""
