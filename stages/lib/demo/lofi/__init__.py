"""Teaching of the tiny base of the chapter lofi: a SigLIP and a Gemma 3, on simulated chest images with reports."""
