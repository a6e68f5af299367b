"""scfmbench: how much batch effect is left in an embedding, where, and at what cost to biology.

The package is imported by the executables in ``bin/`` and can be installed for notebooks with
``pip install .``. Sub-packages import heavy libraries inside the functions that need them, so
importing ``scfm`` itself costs nothing.
"""

__version__ = "0.1.0"
