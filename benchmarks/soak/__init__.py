"""Hours of training under random faults and kills: nothing lost, nothing that grows."""
