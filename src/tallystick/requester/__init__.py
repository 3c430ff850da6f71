"""What `tally run` and a Python caller use: orders, buying, following, downloading."""
