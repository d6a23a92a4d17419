"""Our three scripts side by side with the tutorial's own loops."""
