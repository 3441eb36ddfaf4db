"""Retention: what is only history for machines is deleted after a while; what concerns people never is."""
