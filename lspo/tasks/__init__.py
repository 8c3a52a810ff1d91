"""Built-in tasks, made of nothing but random numbers."""
