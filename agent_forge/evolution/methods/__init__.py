"""Merge methods as functions of tensors: no names, no files, no global generator.

    merged = linear([first, second], weights=[0.6, 0.4])

All compute in the dtype they are given; `merge.py` gives them float32. Parents may come as a generator, so that a
method holds no more of them than it needs.
"""
