"""Statements between the schedule and the text: nodes, and passes on them."""
