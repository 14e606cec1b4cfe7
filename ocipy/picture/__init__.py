"""Shows a plan or a trace as a page: two lanes, arrows for barriers, each step with its field of config.json. Cold."""
