"""What CheXagent-2 writes, as detections; it is asked by `lib.models.chexagent`."""
