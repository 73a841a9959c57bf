"""Mail: written with the change that it tells of, sent afterwards, again until somebody takes it."""
