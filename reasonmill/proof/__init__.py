"""Does the data improve the policy? Nights of the loop on arms that differ only in which answers they train on."""
