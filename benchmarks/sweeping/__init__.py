"""The parts of `sweep.py`, one a file, and the sweep that they are about: 10 layers × 6 strengths × 12 questions."""

LAYERS = tuple(range(2, 30, 3))
"""Of the embedded model's thirty, spread over all of its depth: nobody knows better before a sweep."""
STRENGTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
QUESTIONS = 12
TOKENS = 64
ANSWERS = len(LAYERS) * len(STRENGTHS) * QUESTIONS
"""Of the grid; the unsteered answers come on top."""
