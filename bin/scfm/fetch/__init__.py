"""Fetching data sets: from CELLxGENE Discover or a mirror of it, from a web address, or from a local file."""
