"""Recovery: what a restore or a failover may have lost, and how evidence brings it back."""
