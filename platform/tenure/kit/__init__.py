"""Small tools with no knowledge of the domain: each file is one concept."""
