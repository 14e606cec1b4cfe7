"""Children of the runtime: one that answers once, one that goes on; and the signals that interrupt waiting for them."""
