"""Reading and writing files: tables, counts, downloads."""
