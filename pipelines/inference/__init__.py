"""The only room that speaks to a model: two callables (generate, score) behind one session."""
