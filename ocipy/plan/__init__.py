"""Pure planning: takes config.json and returns two lanes of steps. One module per concern; nothing here does I/O."""
