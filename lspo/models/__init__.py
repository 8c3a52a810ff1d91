"""What is known of transformers' models: loading, log-probs, heads, tokenizers."""
