"""One layer applied again and again."""
