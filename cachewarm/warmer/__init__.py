"""The warmer process: feed events, the walk of the inventory, and rotation of responder certificates."""
