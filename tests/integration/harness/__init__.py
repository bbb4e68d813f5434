"""What the integration tests share: processes, checkpoints, the gRPC API, conditions."""
