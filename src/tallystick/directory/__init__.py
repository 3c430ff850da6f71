"""A list of pools for those who look for one: what each says of itself, and when."""
