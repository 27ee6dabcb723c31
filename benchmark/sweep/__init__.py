"""Many runs from one declarative file: planned as jobs, done by worker processes, resumed after anything."""
