"""The study that scfmbench reimplements: its data sets, its published numbers and its figures."""
