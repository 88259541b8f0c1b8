"""Where the theory of multimodal learning meets data whose truth is known."""
