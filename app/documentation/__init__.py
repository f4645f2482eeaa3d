"""The description of the API, made from its routes, and the pages that show it."""
