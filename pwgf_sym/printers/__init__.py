"""Text of statements, one printer a target: a node has one rule."""
