"""What every executable in ``bin/`` shares: command line, settings, status of a step, resources."""
