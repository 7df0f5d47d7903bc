"""Vision models of timm, TorchXRayVision and open_clip, each in a process of an environment of its own."""
