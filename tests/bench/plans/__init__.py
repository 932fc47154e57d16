"""Work of look-ups, lists, changes, histories and searches among 300 000 assets, with the statistics of a tenant and without."""
