"""CheXagent in a process of its own: asked here; what its words mean to a localizer is `lib.detect.chexagent`."""
