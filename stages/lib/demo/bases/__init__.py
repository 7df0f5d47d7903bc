"""Kinds of tiny bases: what each is taught, and on which drawn images.

A module offers `Params`; `WANTED`, the other sections that it reads, by name; and `pretrain(folder, params, given)`,
which writes the base to a folder and returns the loss of each step of each phase; and `ABOUT`, what its README says.
"""
