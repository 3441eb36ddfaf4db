"""The audit log: who changed what, why, with what stood before and after."""
