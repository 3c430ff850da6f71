"""What every page of ours shares: layout, words for figures, charts, live updates, and the
headers that let a browser do nothing else. It knows no pool and no chain."""
