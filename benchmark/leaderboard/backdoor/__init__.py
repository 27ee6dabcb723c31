"""The tables of the backdoor track: one row a defence, and one row a defence and attack."""
