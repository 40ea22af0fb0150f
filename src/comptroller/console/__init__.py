"""The control plane: what the control process answers."""
