"""Networks and protocols that several experiments share."""
