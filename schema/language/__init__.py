"""The language of the schema: fields, scopes, scalars, inputs, pages, ids, errors, limits and costs."""
