"""What every part of the schema shares: fields, scopes, scalars, inputs, pages, ids, errors, limits and costs."""
