"""LoFi: SigLIP's two towers with LoRA, pooled patches as the prefix of a small Gemma 3, and the texts of both.

Source: LoFi, arXiv 2603.19451, whose code is not public; where the paper is silent, LoFi-MedG, arXiv 2608.00976, by the
same authors, settles it.

`params` what is chosen, `wording` what is said, `words` its tokens, `pooling` and `network` the modules, `weights`
from and to folders, `card` what an adapter is bound to.
"""
