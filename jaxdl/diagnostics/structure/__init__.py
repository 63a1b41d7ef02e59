"""What a traced model consists of: its layers, chains, sites, residual additions and recurrences."""
