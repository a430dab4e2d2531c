"""The only room that knows transformers: loading, tokens, layers, reading, steering, generating, scoring."""
