"""Tree search: knows no language model, no HTTP and no prompt; models arrive as functions."""
