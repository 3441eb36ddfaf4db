"""The demo world: plans, customers in every state, stand-ins for the outside, and payments that keep coming.

Everything of it is marked: external ids begin with `demo-`, addresses end with `@demo.invalid`, plans have
codes that begin with `demo-`. It is for development only.
"""
