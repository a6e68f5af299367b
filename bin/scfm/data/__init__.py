"""Reading and checking input, preparation of a data set, and the demo data."""
