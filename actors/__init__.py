"""What acts: verification, agents; runs, reviews, providers, contracts and chain are to come."""
