"""Wells and compounds, ranked, and how sure the ranks are."""
