"""Judge whether thinking helps a language model, and bake it in only when it does."""

__version__ = "0.1.0"
