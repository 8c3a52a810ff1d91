"""The command line, and the recipes that come with it."""
