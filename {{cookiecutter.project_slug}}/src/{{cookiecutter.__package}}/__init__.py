"""A gated model from versioned data: `dvc.yaml` is the map, `schema.py` the contract, `params.yaml` the numbers."""
