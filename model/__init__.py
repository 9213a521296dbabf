"""Text in, tokens out: models, engine, speculation, serving. Knows nothing of repositories."""
