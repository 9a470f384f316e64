"""KEDA's external scaler: what scales the workers of Kubernetes asks how many slots are wanted (docs/keda.md)."""
