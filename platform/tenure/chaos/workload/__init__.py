"""The work that a stack has while faults strike: clients who write down what they asked and were told."""
