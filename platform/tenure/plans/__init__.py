"""Plans: what is sold, and how its end is announced."""
