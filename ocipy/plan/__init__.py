"""Pure planning: config.json in, two lanes of steps out; one module a concern, nothing here does I/O."""
