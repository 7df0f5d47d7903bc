"""Kinds of tiny bases: what each is taught, and on which drawn images.

A module offers `Params`; `WANTED`, the other sections that it reads, by name; `pretrain(folder, params, given)`, which
writes the base to a folder and returns the loss of each step of each phase; `recorded(params, given)`, the parameters
that decide it; `FOLDER`, where it is shipped, None if it is made by each study that needs it; `ABOUT`, what its README
says of it; and `FEW`, the parameters of the few steps whose losses the record of a shipped base has.
"""
