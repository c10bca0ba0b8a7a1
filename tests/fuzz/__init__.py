"""Fuzzing: targets that take any bytes, and must keep a promise for each.

    python -m tests.fuzz callbacks --seconds 60
    python -m tests.fuzz --inputs 100000

`atheris` (the extra `[fuzz]`) looks for inputs that reach new code, and begins with those in `corpus/`. Where it does
not install, hypothesis makes the inputs. An input that breaks a promise is written to a file, whose name is printed.
"""
