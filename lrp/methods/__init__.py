"""Every way to explain a decision, by name.

Read `catalogue` (all of them), then `rollout` (maps made of attention) and `captum_methods`
(others' methods, on our models).
"""
