"""Libraries that backbones come from: each module offers `load(params, setting)`; see stages/lib/models/backbone.py."""
