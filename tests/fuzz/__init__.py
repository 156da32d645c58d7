"""Fuzzing without any tool: seeds made from recorded frames, mutations, and targets that state promises.

    make fuzz                                          every target, some minutes
    python -m tests.fuzz frames --count 5000 --seed 7  one target, repeatable
    python -m tests.fuzz frames --replay FILE          one input again

A target takes any bytes and raises only where a promise is broken. `test_fuzz.py` runs each for two
seconds or so, so that the targets never rot.
"""
