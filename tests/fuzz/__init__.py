"""Fuzzing: targets for atheris (``make fuzz``) and for hypothesis (``test_fuzz_inputs.py``)."""
