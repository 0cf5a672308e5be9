"""Image classifiers by the book: CS231n lecture 7, "Training Neural Networks, part 2"."""

__version__ = "0.1.0"
