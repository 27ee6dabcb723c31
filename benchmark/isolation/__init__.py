"""Running what somebody else wrote: in a process of its own, under limits, and, with the sandbox, behind walls."""
