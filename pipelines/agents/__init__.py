"""Multi-agent critique: how one agent's text becomes a judgement, and how several judgements become a verdict."""
