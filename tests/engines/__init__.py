"""Long suites on real engines: a batch system, containers, faults. A JSON record per case lets a suite resume."""
