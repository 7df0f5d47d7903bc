"""LoFi: a contrastive image and text encoder whose visual tokens a small language model reads, too."""
