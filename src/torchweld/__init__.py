"""torchweld: train a network in the branched form, run it in the welded form."""
