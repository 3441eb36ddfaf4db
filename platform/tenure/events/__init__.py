"""Events: facts written beside the change that made them true, ordered by the relay, told to listeners."""
