"""A pool of the shipped programs in virtual time: only their edges are simulated."""
