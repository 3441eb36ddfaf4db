"""Payments: invoices, quotes, what arrived, and what it was credited to."""
