"""Scenarios: stories from the life of a subscription, lived on a throw-away stack and told step by step.

Each story is a file: a title, and steps that act as customers, operators and the world outside do, through
the public contract only. A step says what it expects and what it saw.
"""
