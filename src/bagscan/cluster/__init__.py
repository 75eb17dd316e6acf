"""Past one machine: the only room that imports Ray (the extra ``cluster``)."""
