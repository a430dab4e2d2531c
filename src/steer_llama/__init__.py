"""Give an open-weights chat model another model's style with a steering vector, and prove that it works."""

__version__ = "0.1.0"
