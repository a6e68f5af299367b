"""Integration methods and controls: one file per method, found by its name in the methods table.

A method is a module with

* ``DEFAULTS``: its settings and their default values (see :mod:`scfm.task.settings`);
* ``integrate(inputs, settings, seed) -> MethodOutput``.

Nothing else has to be registered: a row in ``assets/methods.tsv`` and a file of that name here are a method.
"""
