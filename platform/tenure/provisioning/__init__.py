"""Access at the customer's own service: desired and applied generations, and the call between them."""
