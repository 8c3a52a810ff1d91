"""Final answers: where they are in a text, what they say, and whether two say the same."""
