"""Users of locust who launch, watch and read, and a run of them that checks the truth."""
