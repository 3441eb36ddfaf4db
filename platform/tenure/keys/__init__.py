"""The install's key ring: kept in the record, sealed under TENURE_SECRET_KEY, rotated by command."""
