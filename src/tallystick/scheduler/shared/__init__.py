"""Several schedulers of one pool: who does what, and how they tell each other."""
