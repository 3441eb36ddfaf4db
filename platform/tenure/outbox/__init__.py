"""The outbox: what is to be told to the outside, written beside the change that gives cause to tell it."""
