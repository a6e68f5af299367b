"""Installs the package of ``bin/scfm`` with the registries of ``assets/`` inside it, as ``scfm/assets``."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages("bin", include=["scfm", "scfm.*"]), "scfm.assets"],
    package_dir={"": "bin", "scfm.assets": "assets"},
    package_data={
        "scfm.recipes": ["*.json"],
        "scfm.registries": ["*.tsv"],
        "scfm.assets": ["*.tsv", "*.json", "*.yml", "*/*"],
    },
)
